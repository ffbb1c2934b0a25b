import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { RoomConnection } = await load("connection.js");

const ROOM = "65f0c0ffee0123456789abcd";
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** The part of a Socket.IO socket that the connection uses, with a server that gives `answers` in turn. */
class Socket {
  connected = false;
  active = true;
  joins = [];
  calls = [];
  #listeners = {};

  constructor(...answers) {
    this.answers = answers;
  }

  on(event, listener) {
    this.#listeners[event] = listener;
  }

  onAny(listener) {
    this.any = listener;
  }

  timeout() {
    return {
      emitWithAck: async (event, request) => {
        assert.equal(event, "join");
        this.joins.push(request);
        const answer = this.answers.shift() ?? { ok: true };
        if (answer === "timeout") throw new Error("operation has timed out");
        return answer;
      },
    };
  }

  connect() {
    this.calls.push("connect");
    this.connected = true;
    this.#listeners.connect();
    return this;
  }

  disconnect() {
    this.calls.push("disconnect");
    this.connected = false;
    return this;
  }

  drop(reason) {
    this.connected = false;
    this.#listeners.disconnect(reason);
  }
}

/**
 * A connection over `socket`, and the log of what its handlers hear.
 *
 * @param {any} socket
 * @param {{fetchTicket?: () => Promise<string>, position?: () => any, wait?: (ms: number) => Promise<unknown>}} options
 */
function connected(socket, { fetchTicket, position = () => null, wait } = {}) {
  const log = [];
  let tickets = 0;
  const connection = new RoomConnection({
    socket,
    roomId: ROOM,
    fetchTicket: fetchTicket ?? (async () => `ticket ${++tickets}`),
    position,
    wait: wait ?? (async () => log.push("wait")),
    handlers: {
      onStatus: (status) => log.push(status),
      onJoined: () => log.push("onJoined"),
      onEvent: (event) => log.push(event),
      onRefused: ({ code }) => log.push(`refused ${code}`),
    },
  });
  return { connection, log };
}

const refusal = (code, retry = false) => ({ ok: false, code, message: "", retry });
const problem = (code, retry = false) => Object.assign(new Error(code), { code, retry });

test("after a reconnect it joins with a fresh ticket and the position", async () => {
  const socket = new Socket();
  const positions = [null, { epoch: "0123456789abcdef", seq: 7 }];
  const { log } = connected(socket, { position: () => positions.shift() });
  socket.connect();
  await settled();
  socket.drop("transport close");
  socket.connect();
  await settled();
  assert.deepEqual(socket.joins, [
    { room: ROOM, ticket: "ticket 1" },
    { room: ROOM, ticket: "ticket 2", position: { epoch: "0123456789abcdef", seq: 7 } },
  ]);
  assert.deepEqual(log, ["joining", "joined", "onJoined", "lost", "joining", "joined", "onJoined"]);
});

test("a spent ticket is replaced at once", async () => {
  const socket = new Socket(refusal("ticket_expired"));
  const { log } = connected(socket);
  socket.connect();
  await settled();
  assert.deepEqual(
    socket.joins.map(({ ticket }) => ticket),
    ["ticket 1", "ticket 2"],
  );
  assert.deepEqual(log, ["joining", "joined", "onJoined"]);
});

test("a temporary refusal is retried", async () => {
  const socket = new Socket(refusal("recovering", true), "timeout");
  const { log } = connected(socket);
  socket.connect();
  await settled();
  assert.deepEqual(log, ["joining", "waiting", "wait", "joining", "waiting", "wait", "joining", "joined", "onJoined"]);
});

test("a final refusal ends the connection", async () => {
  const socket = new Socket(refusal("banned"));
  const { log } = connected(socket);
  socket.connect();
  await settled();
  socket.any("chat", {});
  assert.deepEqual(log, ["joining", "refused banned"]);
  assert.deepEqual(socket.calls, ["connect", "disconnect"]);
});

test("without rooms-api it joins without a ticket, but a refused ticket ends the connection", async () => {
  const away = new Socket();
  connected(away, { fetchTicket: async () => Promise.reject(problem("network_failed", true)) });
  away.connect();
  await settled();
  assert.deepEqual(away.joins, [{ room: ROOM }]);
  const gone = new Socket();
  const { log } = connected(gone, { fetchTicket: async () => Promise.reject(problem("room_not_found")) });
  gone.connect();
  await settled();
  assert.deepEqual(log, ["joining", "refused room_not_found"]);
  assert.deepEqual(gone.joins, []);
});

test("it reconnects when a node drains or the server disconnects it", async () => {
  const draining = new Socket(refusal("node_draining", true));
  connected(draining);
  draining.connect();
  await settled();
  assert.deepEqual(draining.calls, ["connect", "disconnect", "connect"]);
  const closed = new Socket();
  connected(closed);
  closed.connect();
  await settled();
  closed.drop("io server disconnect");
  await settled();
  assert.deepEqual(closed.calls, ["connect", "connect"]);
  assert.equal(closed.joins.length, 2);
});

test("the result of a join from before a reconnect is ignored", async () => {
  const socket = new Socket();
  const waiting = [];
  const { log } = connected(socket, { fetchTicket: () => new Promise((resolve) => waiting.push(resolve)) });
  socket.connect();
  socket.drop("transport close");
  socket.connect();
  for (const resolve of waiting) resolve("late");
  await settled();
  assert.equal(log.filter((line) => line === "onJoined").length, 1);
});

test("a user who loses the seat asks for another", async () => {
  const socket = new Socket({ ok: true }, refusal("room_full", true), { ok: true });
  const { log } = connected(socket);
  socket.connect();
  await settled();
  socket.any("joinRefused", { room: ROOM, ...refusal("room_full", true) });
  await settled();
  assert.deepEqual(log.slice(3), ["waiting", "wait", "joining", "waiting", "wait", "joining", "joined", "onJoined"]);
  assert.equal(socket.joins.length, 3);
});

test("reopening a dead connection rejoins from the position and cancels the earlier wait", async () => {
  const socket = new Socket();
  const { connection, log } = connected(socket, { position: () => ({ epoch: "0123456789abcdef", seq: 7 }) });
  socket.connect();
  await settled();
  connection.reopen();
  await settled();
  assert.deepEqual(socket.calls, ["connect", "disconnect", "connect"]);
  assert.deepEqual(
    socket.joins.map(({ position }) => position?.seq),
    [7, 7],
  );
  assert.deepEqual(log.slice(-3), ["joining", "joined", "onJoined"]);
  connection.stop();
  connection.reopen();
  assert.deepEqual(socket.calls.slice(3), ["disconnect"]);
});

test("reopening ends a wait before the next attempt", async () => {
  const socket = new Socket();
  const passed = [];
  const { connection } = connected(socket, { wait: () => new Promise((resolve) => passed.push(resolve)) });
  socket.connect();
  await settled();
  socket.drop("io server disconnect");
  connection.reopen();
  await settled();
  for (const resolve of passed) resolve();
  await settled();
  assert.deepEqual(socket.calls, ["connect", "disconnect", "connect"]);
});
