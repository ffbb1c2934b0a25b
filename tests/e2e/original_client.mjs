// A client like the original's pages: the official socket.io-client, and only the original's event names.
// Configuration: one JSON argument {url, transports, upgrade, cookie, room}. Prints one JSON line per event.
// A line on standard input `{"emit": [namespace, event, data]}` emits; the end of the input ends the client.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const { url, transports, upgrade, cookie, room } = JSON.parse(process.argv[2]);
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const options = {
  path: "/socket.io",
  transports,
  upgrade,
  withCredentials: !cookie,
  extraHeaders: cookie ? { cookie } : {},
  reconnection: false,
};

const sockets = {
  "/": io(url, options),
  "/room": io(`${url}/room`, options),
  "/chat": io(`${url}/chat`, options),
};
const events = {
  "/": ["news"],
  "/room": ["newRoom", "removeRoom"],
  "/chat": ["join", "exit", "chat"],
};

for (const [namespace, socket] of Object.entries(sockets)) {
  socket.on("connect", () => {
    if (namespace === "/chat" && room) socket.emit("join", room);
    print({ namespace, event: "connect", data: socket.id });
  });
  socket.on("connect_error", (error) => print({ namespace, event: "connect_error", data: error.message }));
  socket.on("disconnect", (reason) => print({ namespace, event: "disconnect", data: reason }));
  for (const event of events[namespace]) {
    socket.on(event, (data) => print({ namespace, event, data }));
  }
}
sockets["/"].io.engine.on("upgrade", (transport) => print({ namespace: "", event: "upgrade", data: transport.name }));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [namespace, event, data] = JSON.parse(line).emit;
    sockets[namespace].emit(event, data);
  })
  .on("close", () => {
    // The process exits once the disconnects are sent. A polling client needs a request for that.
    for (const socket of Object.values(sockets)) socket.disconnect();
  });
