import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { ANSWER_MS, ConnectionCheck } = await load("connection_check.js");

const TIME = "2026-11-30T13:14:15.678Z";
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A page with its own clock and events, and a socket whose probes the test answers. */
function pageWith({ connected = true } = {}) {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const probes = [];
  const log = [];
  const world = { now: 1_000_000, log, probes, document, tick: null };
  const heard = {};
  const on = (event, listener) => (heard[event] = listener);
  world.socketEvent = (event) => heard[event]();
  world.socket = {
    connected,
    on,
    io: { on },
    timeout: (ms) => ({
      emitWithAck: (event) => {
        log.push(`${event} ${ms}`);
        return new Promise((resolve, reject) => probes.push({ resolve, reject }));
      },
    }),
  };
  world.check = new ConnectionCheck({
    socket: world.socket,
    reopen: () => log.push("reopen"),
    onDead: () => log.push("dead"),
    onTime: (time) => log.push(time),
    page,
    document,
    now: () => world.now,
    setTicker: (callback) => {
      world.tick = callback;
      return "ticker";
    },
    clearTicker: (ticker) => log.push(`${ticker} cleared`),
  });
  world.page = (event, more = {}) => page.dispatchEvent(Object.assign(new Event(event), more));
  world.visibility = (state) => {
    document.visibilityState = state;
    document.dispatchEvent(new Event("visibilitychange"));
  };
  world.answer = async (ack = { ok: true, time: TIME }) => {
    probes.shift().resolve(ack);
    await settled();
  };
  world.noAnswer = async () => {
    world.now += ANSWER_MS;
    probes.shift().reject(new Error("operation has timed out"));
    await settled();
  };
  return world;
}

const PROBE = `probe ${ANSWER_MS}`;

test("a page that wakes up probes its connection and reports nothing if it is alive", async () => {
  const wakeUps = [
    (world) => world.visibility("visible"),
    (world) => world.document.dispatchEvent(new Event("resume")),
    (world) => world.page("pageshow", { persisted: true }),
    (world) => world.page("online"),
    (world) => world.page("focus"),
  ];
  for (const wakeUp of wakeUps) {
    const world = pageWith();
    wakeUp(world);
    await world.answer();
    assert.deepEqual(world.log, [PROBE, TIME], wakeUp.toString());
  }
});

test("a page does not probe when it goes to sleep or is first shown", () => {
  const world = pageWith();
  world.visibility("hidden");
  world.page("pageshow", { persisted: false });
  assert.deepEqual(world.log, []);
});

test("stopped timers count as sleep, except on a hidden page", async () => {
  const world = pageWith();
  for (let second = 0; second < 10; second += 1) {
    world.now += 1_000;
    world.tick();
  }
  assert.deepEqual(world.log, []);
  world.now += 60_000;
  world.tick();
  await world.answer();
  assert.deepEqual(world.log, [PROBE, TIME]);
  world.visibility("hidden");
  world.now += 60_000;
  world.tick();
  assert.deepEqual(world.log, [PROBE, TIME]);
});

test("without an ack in time the page reports a dead connection before it reopens the socket", async () => {
  const world = pageWith();
  assert.ok(ANSWER_MS < 3_000);
  world.visibility("visible");
  await world.noAnswer();
  assert.deepEqual(world.log, [PROBE, "dead", "reopen"]);
});

test("a refused probe shows that the connection is alive", async () => {
  const world = pageWith();
  world.page("focus");
  await world.answer({ ok: false, code: "rate_limited" });
  assert.deepEqual(world.log, [PROBE]);
});

test("several wake-up events in a row cause one probe", async () => {
  const world = pageWith();
  for (const event of ["online", "focus"]) world.page(event);
  world.visibility("visible");
  assert.equal(world.probes.length, 1);
  await world.answer();
  world.now += 100;
  world.page("focus");
  assert.equal(world.probes.length, 0);
  world.now += 1_000;
  world.page("focus");
  assert.equal(world.probes.length, 1);
});

test("a probe before a pause does not replace one after it", async () => {
  const world = pageWith();
  world.page("focus");
  world.now += 600_000;
  await world.answer();
  world.visibility("visible");
  assert.equal(world.probes.length, 1);
});

test("setting the wall clock back does not stop probing", async () => {
  const world = pageWith();
  world.page("focus");
  await world.answer();
  world.now -= 3_600_000;
  world.page("focus");
  assert.equal(world.probes.length, 1);
});

test("a socket that waits to reconnect reconnects at once", () => {
  for (const lost of ["disconnect", "connect_error"]) {
    const world = pageWith({ connected: false });
    world.socketEvent("reconnect_attempt");
    world.socketEvent(lost);
    world.visibility("visible");
    world.page("focus");
    assert.deepEqual(world.log, ["reopen"], lost);
  }
});

test("every attempt to connect gets enough time", () => {
  const world = pageWith({ connected: false });
  world.page("focus");
  assert.deepEqual(world.log, [], "the page has just begun its first attempt");
  world.now += 60_000;
  world.socketEvent("reconnect_attempt");
  world.page("focus");
  assert.deepEqual(world.log, [], "the client has just begun an attempt");
  world.now += ANSWER_MS;
  world.page("focus");
  assert.deepEqual(world.log, ["reopen"]);
  world.now += ANSWER_MS - 1;
  world.page("online");
  assert.deepEqual(world.log, ["reopen"], "the check has just begun an attempt");
  world.now += 1;
  world.page("online");
  assert.deepEqual(world.log, ["reopen", "reopen"]);
});

test("a stopped check sends no probe and ignores late answers", async () => {
  const world = pageWith();
  world.page("focus");
  world.check.stop();
  await world.noAnswer();
  world.page("focus");
  world.visibility("visible");
  assert.deepEqual(world.log, [PROBE, "ticker cleared"]);
});
