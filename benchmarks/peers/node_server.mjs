// Socket.IO for Node.js with its Redis adapter, as its documentation sets it up: namespace /chat, rooms, an ack.
// Environment: PORT, REDIS_URL, ADAPTER (classic | sharded).
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const publisher = createClient({ url: process.env.REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  adapter: (process.env.ADAPTER === "sharded" ? createShardedAdapter : createAdapter)(publisher, subscriber),
});
io.of("/chat").on("connection", (socket) => {
  socket.on("join", async (room, ack) => {
    await socket.join(room);
    ack({ ok: true });
  });
});
http.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 });
process.on("SIGTERM", () => process.exit(0));
