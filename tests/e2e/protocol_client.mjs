// The official client's side of the protocol, against the small namespaces of gifchat_testkit.engine_worlds.
// Configuration: one JSON argument {url, transports, upgrade}. Prints one JSON line for each case: {name, error}.
import assert from "node:assert/strict";
import { Manager } from "socket.io-client";

const { url, transports, upgrade } = JSON.parse(process.argv[2]);
const DEADLINE_MS = 10_000;
const last = transports.at(-1);

const manager = (more = {}) =>
  new Manager(url, {
    transports,
    upgrade,
    reconnectionDelay: 10,
    reconnectionDelayMax: 50,
    autoConnect: false,
    ...more,
  });

// The arguments of the next event.
const next = (emitter, event) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event}`)), DEADLINE_MS);
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });

const acked = (socket, ...args) =>
  new Promise((resolve, reject) =>
    socket.timeout(DEADLINE_MS).emit(...args, (error, ...answer) => (error ? reject(error) : resolve(answer))),
  );

const connect = async (socket) => {
  const connected = next(socket, "connect");
  socket.connect();
  await connected;
  return socket;
};

const onLastTransport = async (socket) => {
  if (socket.io.engine.transport.name !== last) await next(socket.io.engine, "upgrade");
  assert.equal(socket.io.engine.transport.name, last);
};

// The client drops a volatile packet while a request of the polling transport is in flight.
const writable = async (socket) => {
  while (!socket.io.engine.transport.writable) await new Promise((resolve) => setTimeout(resolve, 1));
};

const cases = {
  "events and acks": async (io) => {
    const socket = await connect(io.socket("/"));
    assert.notEqual(socket.id, io.engine.id);
    await onLastTransport(socket);
    const back = next(socket, "message-back");
    socket.emit("message", 1, "2", { 3: [true] }, null, "가\u{1F4A9}");
    assert.deepEqual(await back, [1, "2", { 3: [true] }, null, "가\u{1F4A9}"]);
    assert.deepEqual(await acked(socket, "message-with-ack", 1, "2", { 3: [false] }), [1, "2", { 3: [false] }]);
    assert.deepEqual(await acked(socket, "message-with-ack"), []);
    assert.deepEqual(await acked(socket, "nothing"), []);
    assert.equal(await socket.timeout(DEADLINE_MS).emitWithAck("message-with-ack", "one"), "one");
  },

  "a missing ack": async (io) => {
    const socket = await connect(io.socket("/"));
    await assert.rejects(socket.timeout(100).emitWithAck("unknown"), /operation has timed out/);
    assert.deepEqual(await acked(socket, "message-with-ack", "still there"), ["still there"]);
  },

  "binary in both directions": async (io) => {
    const socket = await connect(io.socket("/"));
    const bytes = Buffer.from(Array.from({ length: 1_000 }, (_, at) => at % 256));
    const back = next(socket, "message-back");
    socket.emit("message", bytes, { deep: [Uint8Array.of(1, 2)] });
    const [first, second] = await back;
    assert.deepEqual(Buffer.from(first), bytes);
    assert.deepEqual(Buffer.from(second.deep[0]), Buffer.from([1, 2]));
    const [answer, text] = await acked(socket, "message-with-ack", bytes, "text");
    assert.deepEqual(Buffer.from(answer), bytes);
    assert.equal(text, "text");
  },

  "the server requests acks": async (io) => {
    const socket = await connect(io.socket("/"));
    socket.on("question", (what, answer) => answer(`${what} answered`, Buffer.from("bytes")));
    const answered = next(socket, "answered");
    socket.emit("question", "this");
    const [text, bytes] = await answered;
    assert.equal(text, "this answered");
    assert.equal(Buffer.from(bytes).toString(), "bytes");
  },

  volatile: async (io) => {
    const socket = io.socket("/");
    const got = [];
    socket.on("message-back", (what) => got.push(what));
    socket.volatile.emit("message", "dropped: not connected yet");
    socket.emit("message", "kept");
    await connect(socket);
    await onLastTransport(socket);
    await acked(socket, "nothing");
    const back = next(socket, "message-back");
    await writable(socket);
    socket.volatile.emit("message", "sent: connected");
    await back;
    assert.deepEqual(got, ["kept", "sent: connected"]);
  },

  "namespaces on one connection": async (io) => {
    const sockets = [io.socket("/"), io.socket("/custom"), io.socket("/admin", { auth: { token: "secret" } })];
    for (const socket of sockets) await connect(socket);
    assert.equal(new Set(sockets.map((socket) => socket.id)).size, 3);
    for (const socket of sockets) assert.deepEqual(await acked(socket, "message-with-ack", socket.id), [socket.id]);
    sockets[1].disconnect();
    assert.deepEqual(await acked(sockets[0], "message-with-ack", "still there"), ["still there"]);
    await connect(sockets[1]);
    assert.deepEqual(await acked(sockets[1], "message-with-ack", "back"), ["back"]);
  },

  auth: async (io) => {
    const socket = io.socket("/custom", { auth: { token: "123" } });
    const auth = next(socket, "auth");
    await connect(socket);
    assert.deepEqual(await auth, [{ token: "123" }]);
    const admin = io.socket("/admin", { auth: { token: "wrong" } });
    const refused = next(admin, "connect_error");
    admin.connect();
    const [error] = await refused;
    assert.equal(error.message, "Not authorized");
    assert.deepEqual(error.data, { wants: "a token" });
    admin.auth = { token: "secret" };
    await connect(admin);
    assert.deepEqual(await acked(socket, "message-with-ack", "untouched"), ["untouched"]);
  },

  "an invalid namespace": async (io) => {
    const socket = io.socket("/random");
    const refused = next(socket, "connect_error");
    socket.connect();
    assert.equal((await refused)[0].message, "Invalid namespace");
    const other = await connect(io.socket("/"));
    assert.deepEqual(await acked(other, "message-with-ack", 1), [1]);
  },

  "reconnecting after the server closed": async (io) => {
    const sockets = [await connect(io.socket("/")), await connect(io.socket("/custom"))];
    await onLastTransport(sockets[0]);
    for (let times = 0; times < 3; times++) {
      const before = sockets.map((socket) => socket.id);
      const gone = sockets.map((socket) => next(socket, "disconnect"));
      const back = sockets.map((socket) => next(socket, "connect"));
      sockets[0].emit("close");
      // The poll fails, because python-socketio would not reconnect after a CLOSE packet.
      const why = last === "polling" ? "transport error" : "transport close";
      for (const [reason] of await Promise.all(gone)) assert.equal(reason, why);
      await Promise.all(back);
      sockets.forEach((socket, at) => assert.notEqual(socket.id, before[at]));
      assert.deepEqual(await acked(sockets[1], "message-with-ack", times), [times]);
    }
  },

  "being disconnected from a namespace": async (io) => {
    const socket = await connect(io.socket("/custom"));
    const gone = next(socket, "disconnect");
    socket.emit("kick");
    assert.equal((await gone)[0], "io server disconnect");
    assert.equal(socket.active, false);
    await connect(socket);
    assert.deepEqual(await acked(socket, "message-with-ack", "back"), ["back"]);
  },

  "a burst during the upgrade": async (io) => {
    const socket = io.socket("/");
    const got = [];
    socket.on("message-back", (number) => got.push(number));
    socket.connect();
    for (let number = 0; number < 300; number++) socket.emit("message", number);
    await next(socket, "connect");
    for (let number = 300; number < 1_000; number++) {
      socket.emit("message", number);
      if (number % 50 === 0) await new Promise(setImmediate);
    }
    await acked(socket, "nothing");
    assert.deepEqual(
      got,
      Array.from({ length: 1_000 }, (_, number) => number),
    );
    await onLastTransport(socket);
  },

  "many pings": async (io) => {
    const socket = await connect(io.socket("/"));
    socket.on("disconnect", (reason) => assert.fail(reason));
    for (let times = 0; times < 3; times++) await next(io, "ping");
    assert.deepEqual(await acked(socket, "message-with-ack", "still there"), ["still there"]);
    socket.off("disconnect");
  },

  "messages before disconnecting": async (io) => {
    const socket = await connect(io.socket("/"));
    const listener = await connect(manager({ forceNew: true }).socket("/"));
    await acked(listener, "enter");
    const said = next(listener, "said");
    await onLastTransport(socket);
    socket.emit("say", "goodbye");
    socket.disconnect();
    assert.deepEqual(await said, ["goodbye"]);
    listener.io._close();
  },
};

const run = async (name, test) => {
  const io = manager();
  try {
    await test(io);
    return { name, error: null };
  } catch (error) {
    return { name, error: String(error?.stack ?? error) };
  } finally {
    io._close();
  }
};

for (const result of await Promise.all(Object.entries(cases).map(([name, test]) => run(name, test)))) {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
process.exit();
