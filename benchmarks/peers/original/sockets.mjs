import { Server } from "socket.io";

/** The namespaces /room and /chat; a connection carries the page's session. */
export function serveSockets(http, sessions) {
  const io = new Server(http, { path: "/socket.io" });
  io.of("/room");
  const chat = io.of("/chat");
  chat.use((socket, next) => sessions(socket.request, socket.request.res || {}, next));
  chat.on("connection", (socket) => {
    socket.on("join", (room, ack) => {
      socket.join(room);
      const user = socket.request.session?.color;
      socket.to(room).emit("join", { user: "system", chat: `${user}님이 입장하셨습니다.` });
      ack?.({ ok: true });
    });
  });
  return io;
}
