import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { ServerClock } = await load("server_clock.js");

const START = Date.parse("2026-11-30T13:00:00.000Z");
const iso = (ms) => new Date(ms).toISOString();
const http = (ms) => new Date(ms).toUTCString();

/** A clock on a monotonic time that the test advances. Timers fire when they are due. */
function fakeTime() {
  const time = { monotonic: 5_000, timers: new Set() };
  time.clock = new ServerClock({
    monotonic: () => time.monotonic,
    setTimer: (callback, ms) => {
      assert.ok(ms >= 0 && ms <= 2 ** 31 - 1, `a timer of ${ms} ms`);
      const timer = { due: time.monotonic + ms, callback };
      time.timers.add(timer);
      return timer;
    },
    clearTimer: (timer) => time.timers.delete(timer),
  });
  time.pass = (ms) => {
    const end = time.monotonic + ms;
    for (;;) {
      const next = [...time.timers].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      time.timers.delete(next);
      time.monotonic = next.due;
      next.callback();
    }
    time.monotonic = end;
  };
  return time;
}

test("the clock continues from the server's last time and ignores the page's clock", () => {
  const { clock, pass } = fakeTime();
  clock.sync(iso(START));
  pass(1_500);
  assert.equal(clock.now(), START + 1_500);
  clock.sync(iso(START - 60_000));
  assert.equal(clock.now(), START - 60_000);
});

test("before the first valid response the clock shows the page's time", () => {
  const { clock } = fakeTime();
  clock.sync(undefined);
  clock.syncToDate(null);
  assert.ok(Math.abs(clock.now() - Date.now()) < 10_000);
});

test("a Date header only moves the clock forward", () => {
  const { clock, pass } = fakeTime();
  clock.syncToDate(http(START));
  assert.equal(clock.now(), START);
  pass(900);
  clock.syncToDate(http(START));
  assert.equal(clock.now(), START + 900);
  clock.syncToDate(http(START + 60_000));
  assert.equal(clock.now(), START + 60_000);
  clock.sync(iso(START + 30_500));
  assert.equal(clock.now(), START + 30_500);
});

test("an alarm rings once, when the server's clock reaches its time", () => {
  const time = fakeTime();
  let rung = 0;
  time.clock.sync(iso(START));
  time.clock.at(START + 4_000.5, () => (rung += 1));
  time.pass(4_000);
  assert.equal(rung, 0);
  time.pass(1);
  assert.equal(rung, 1);
  time.clock.sync(iso(START + 9_000));
  time.pass(60_000);
  assert.equal(rung, 1);
});

test("an alarm moves when the clock is set", () => {
  const time = fakeTime();
  const rung = [];
  time.clock.at(START + 10_000, () => rung.push("early"));
  time.clock.sync(iso(START));
  time.pass(5_000);
  time.clock.at(START + 600_000, () => rung.push("during sleep"));
  // The machine was suspended for ten minutes, and its monotonic clock stopped.
  time.clock.sync(iso(START + 605_000));
  time.pass(0);
  assert.deepEqual(rung, ["early", "during sleep"]);
  time.clock.at(START + 700_000, () => rung.push("later"));
  time.clock.sync(iso(START + 604_000));
  time.pass(95_999);
  assert.equal(rung.length, 2);
  time.pass(1);
  assert.equal(rung.length, 3);
});

test("an alarm can be cancelled and can outlast the longest timer", () => {
  const time = fakeTime();
  const days = 24 * 3_600_000;
  let rung = 0;
  time.clock.sync(iso(START));
  time.clock.at(START + 60 * days, () => (rung += 1));
  const cancel = time.clock.at(START + 1_000, () => (rung += 100));
  cancel();
  time.pass(60 * days - 1);
  assert.equal(rung, 0);
  time.pass(1);
  assert.equal(rung, 1);
});
