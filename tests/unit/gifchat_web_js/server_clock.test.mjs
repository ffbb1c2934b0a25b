import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { ServerClock } = await load("server_clock.js");

const START = Date.parse("2026-11-30T13:00:00.000Z");
const iso = (ms) => new Date(ms).toISOString();
const http = (ms) => new Date(ms).toUTCString();

/** A clock on monotonic time that the test advances. Timers fire when their time comes. */
function clockInTheLab() {
  const lab = { monotonic: 5_000, timers: new Set() };
  lab.clock = new ServerClock({
    monotonic: () => lab.monotonic,
    setTimer: (callback, ms) => {
      assert.ok(ms >= 0 && ms <= 2 ** 31 - 1, `a timer of ${ms} ms`);
      const timer = { due: lab.monotonic + ms, callback };
      lab.timers.add(timer);
      return timer;
    },
    clearTimer: (timer) => lab.timers.delete(timer),
  });
  lab.pass = (ms) => {
    const end = lab.monotonic + ms;
    for (;;) {
      const next = [...lab.timers].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      lab.timers.delete(next);
      lab.monotonic = next.due;
      next.callback();
    }
    lab.monotonic = end;
  };
  return lab;
}

test("it runs on from the server's last time, whatever the page's clock says", () => {
  const { clock, pass } = clockInTheLab();
  clock.hear(iso(START));
  pass(1_500);
  assert.equal(clock.now(), START + 1_500);
  clock.hear(iso(START - 60_000));
  assert.equal(clock.now(), START - 60_000);
});

test("before any valid response it shows the page's clock", () => {
  const { clock } = clockInTheLab();
  clock.hear(undefined);
  clock.hearDate(null);
  assert.ok(Math.abs(clock.now() - Date.now()) < 10_000);
});

test("a Date header only moves the clock forward", () => {
  const { clock, pass } = clockInTheLab();
  clock.hearDate(http(START));
  assert.equal(clock.now(), START);
  pass(900);
  clock.hearDate(http(START));
  assert.equal(clock.now(), START + 900);
  clock.hearDate(http(START + 60_000));
  assert.equal(clock.now(), START + 60_000);
  clock.hear(iso(START + 30_500));
  assert.equal(clock.now(), START + 30_500);
});

test("an alarm rings once, when the server's clock reaches its time", () => {
  const lab = clockInTheLab();
  let rung = 0;
  lab.clock.hear(iso(START));
  lab.clock.at(START + 4_000.5, () => (rung += 1));
  lab.pass(4_000);
  assert.equal(rung, 0);
  lab.pass(1);
  assert.equal(rung, 1);
  lab.clock.hear(iso(START + 9_000));
  lab.pass(60_000);
  assert.equal(rung, 1);
});

test("an alarm follows the clock when the clock is set", () => {
  const lab = clockInTheLab();
  const rung = [];
  lab.clock.at(START + 10_000, () => rung.push("early bird"));
  lab.clock.hear(iso(START));
  lab.pass(5_000);
  lab.clock.at(START + 600_000, () => rung.push("sleeper"));
  // The machine slept for ten minutes, and its monotonic clock with it.
  lab.clock.hear(iso(START + 605_000));
  lab.pass(0);
  assert.deepEqual(rung, ["early bird", "sleeper"]);
  lab.clock.at(START + 700_000, () => rung.push("put off"));
  lab.clock.hear(iso(START + 604_000));
  lab.pass(95_999);
  assert.equal(rung.length, 2);
  lab.pass(1);
  assert.equal(rung.length, 3);
});

test("an alarm can be cancelled and can outlast the longest timer", () => {
  const lab = clockInTheLab();
  const days = 24 * 3_600_000;
  let rung = 0;
  lab.clock.hear(iso(START));
  lab.clock.at(START + 60 * days, () => (rung += 1));
  const cancel = lab.clock.at(START + 1_000, () => (rung += 100));
  cancel();
  lab.pass(60 * days - 1);
  assert.equal(rung, 0);
  lab.pass(1);
  assert.equal(rung, 1);
});
