import assert from "node:assert/strict";
import { test } from "node:test";

import { golden, goldenEvents, load } from "./golden.mjs";

const { DURABLE_EVENTS, ERROR_ACTIONS, Event, actionOf } = await load("protocol.js");

test("the errors and their actions are those of the contract", () => {
  const expected = Object.fromEntries(golden("errors").map(({ code, action }) => [code, action]));
  assert.deepEqual({ ...ERROR_ACTIONS }, expected);
});

test("every event of the contract has a name here", () => {
  const names = new Set(Object.values(Event));
  for (const { event } of goldenEvents()) assert.ok(names.has(event), event);
});

test("the events with a seq are the durable ones", () => {
  for (const { event, data } of goldenEvents())
    assert.equal(DURABLE_EVENTS.has(event), Number.isInteger(data.seq), event);
});

test("an unknown code is retried only if the answer says so", () => {
  assert.equal(actionOf("from_the_future", true), "retry");
  assert.equal(actionOf("from_the_future", false), "stop");
  assert.equal(actionOf("banned", true), "stop");
});
