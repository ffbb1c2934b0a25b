// The official client in an application that joins only once. The client loses its transport and reconnects.
// Argument: JSON {url, transports, cookie, room, positions}. Prints one JSON line per connect and per `chat`.
// A line on standard input breaks the transport as if the client had closed it. The end of the input ends the client.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const { url, transports, cookie, room, positions } = JSON.parse(process.argv[2]);
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
let position = null;

const socket = io(`${url}/chat`, {
  transports,
  extraHeaders: { cookie },
  reconnectionDelay: 300,
  reconnectionDelayMax: 300,
  auth: (answer) => answer(positions && position ? { positions: { [room]: position } } : {}),
});
let joined = false;
socket.on("connect", async () => {
  print({ event: "connect", recovered: socket.recovered });
  if (joined) return;
  joined = true;
  const ack = await socket.emitWithAck("join", room);
  position = ack.position;
  print({ event: "joined", ok: ack.ok });
});
socket.on("chat", (message) => {
  position = { epoch: message.epoch, seq: message.seq };
  print({ event: "chat", text: message.chat });
});
socket.on("resync", () => print({ event: "resync" }));

createInterface({ input: process.stdin })
  .on("line", () => socket.io.engine.close())
  .on("close", () => socket.disconnect());
