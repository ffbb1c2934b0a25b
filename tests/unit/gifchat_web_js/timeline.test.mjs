import assert from "node:assert/strict";
import { test } from "node:test";

import { golden, goldenEvents, load } from "./golden.mjs";

const { DURABLE_EVENTS } = await load("protocol.js");
const { Timeline } = await load("timeline.js");

const ME = "a".repeat(24);
const OTHER = "b".repeat(24);
const chat = (seq, more = {}) => ({
  event: "chat",
  data: {
    ...golden("chat_text").data,
    seq,
    user_id: OTHER,
    client_message_id: `theirs-${seq}`,
    chat: `text ${seq}`,
    ...more,
  },
});
const mine = (seq, clientMessageId, more = {}) =>
  chat(seq, { user_id: ME, client_message_id: clientMessageId, ...more });
const deletion = (seq, target) => ({
  event: "chatDeleted",
  data: { ...golden("chat_deleted").data, seq, target_seq: target },
});
const draft = (clientMessageId, words = "hello") => ({
  clientMessageId,
  color: "#86362d",
  createdAt: "2026-01-02T03:04:05.678Z",
  text: words,
});
const summary = (timeline) =>
  timeline.rows().map((row) => (row.kind === "message" ? `${row.seq ?? row.clientMessageId}:${row.status}` : row.code));

function timelineWith(...items) {
  const timeline = new Timeline(ME);
  timeline.reset(items);
  return timeline;
}

test("a sent message replaces its pending row, whether the answer or the event comes first", () => {
  for (const first of ["answer", "event"]) {
    const timeline = timelineWith(chat(1));
    timeline.addPending(draft("one"));
    const { key } = timeline.rows()[1];
    assert.deepEqual(summary(timeline), ["1:sent", "one:pending"]);
    const { event, data } = mine(2, "one");
    if (first === "answer") timeline.confirm(data);
    timeline.apply(event, data);
    if (first === "event") timeline.confirm(data);
    assert.deepEqual(summary(timeline), ["1:sent", "2:sent"]);
    assert.equal(timeline.rows()[1].key, key);
  }
});

test("an answer that arrives before others' events is put in order", () => {
  const timeline = timelineWith(chat(1));
  timeline.addPending(draft("one"));
  timeline.confirm(mine(4, "one").data);
  timeline.apply("chat", chat(2).data);
  timeline.apply("chat", chat(3).data);
  assert.deepEqual(summary(timeline), ["1:sent", "2:sent", "3:sent", "4:sent"]);
});

test("a failed message can be retried with the same id, or discarded", () => {
  const timeline = timelineWith();
  timeline.addPending(draft("one"));
  assert.equal(timeline.retry("one"), null);
  timeline.fail("one", { code: "slow_mode", message: "" });
  assert.equal(timeline.rows()[0].failure.code, "slow_mode");
  assert.equal(timeline.retry("one").clientMessageId, "one");
  assert.deepEqual(summary(timeline), ["one:pending"]);
  timeline.fail("one", { code: "muted", message: "" });
  timeline.discard("one");
  assert.deepEqual(summary(timeline), []);
});

test("the event of a message marks it as sent, even if the answer was lost or a failure comes later", () => {
  const timeline = timelineWith();
  timeline.addPending(draft("one"));
  timeline.apply("chat", mine(1, "one").data);
  timeline.fail("one", { code: "network_failed", message: "" });
  assert.deepEqual(summary(timeline), ["1:sent"]);
});

test("another user's message with the same client_message_id does not confirm mine", () => {
  const timeline = timelineWith();
  timeline.addPending(draft("same"));
  timeline.apply("chat", chat(1, { client_message_id: "same" }).data);
  assert.deepEqual(summary(timeline), ["1:sent", "same:pending"]);
});

test("a reset keeps the user's unstored messages and confirms the stored ones", () => {
  const timeline = timelineWith(chat(1));
  timeline.addPending(draft("stored"));
  timeline.addPending(draft("not-stored"));
  timeline.reset([chat(5), mine(6, "stored")]);
  assert.deepEqual(summary(timeline), ["5:sent", "6:sent", "not-stored:pending"]);
  assert.equal(timeline.hasMore, true);
});

test("a deletion removes the text, even from history that was read before it", () => {
  const timeline = timelineWith(chat(5), deletion(6, 5), deletion(7, 2));
  assert.equal(timeline.rows()[0].deleted, true);
  assert.equal(timeline.rows()[0].text, undefined);
  timeline.prepend([chat(1), chat(2)], false);
  assert.deepEqual(
    timeline.rows().map(({ deleted }) => deleted),
    [false, true, true],
  );
  assert.equal(timeline.hasMore, false);
});

test("history is added in front, once", () => {
  const timeline = timelineWith(chat(3), chat(4));
  assert.equal(timeline.oldestSeq, 3);
  timeline.prepend([chat(1), chat(2), chat(3)], false);
  assert.deepEqual(summary(timeline), ["1:sent", "2:sent", "3:sent", "4:sent"]);
  assert.equal(timeline.oldestSeq, 1);
});

test("a system line keeps its place", () => {
  const timeline = timelineWith(chat(1));
  timeline.addSystem({ code: "joined", color: "#86362d" });
  timeline.apply("chat", chat(2).data);
  timeline.prepend([], false);
  assert.deepEqual(summary(timeline), ["1:sent", "joined", "2:sent"]);
});

test("a repeated event does not even replace the row", () => {
  const timeline = timelineWith(chat(1));
  const [before] = timeline.rows();
  timeline.apply("chat", chat(1).data);
  assert.equal(timeline.rows()[0], before);
});

test("old rows can be dropped and loaded again", () => {
  const timeline = timelineWith(...[1, 2, 3, 4, 5].map((seq) => chat(seq)));
  assert.equal(timeline.hasMore, false);
  timeline.trim(2);
  assert.deepEqual(summary(timeline), ["4:sent", "5:sent"]);
  assert.deepEqual([timeline.hasMore, timeline.oldestSeq], [true, 4]);
  timeline.prepend([chat(2), chat(3)], true);
  assert.deepEqual(summary(timeline), ["2:sent", "3:sent", "4:sent", "5:sent"]);
});

test("every durable event of the contract makes a row or changes one", () => {
  for (const { event, data } of goldenEvents().filter(({ event: name }) => DURABLE_EVENTS.has(name))) {
    const timeline = timelineWith({ event, data });
    assert.equal(timeline.oldestSeq, data.seq);
    assert.equal(timeline.rows().length, event === "chatDeleted" ? 0 : 1);
  }
  const [gif] = timelineWith(golden("chat_gif")).rows();
  assert.equal(gif.gif.stillUrl, golden("chat_gif").data.gif_info.still_url);
  assert.equal(gif.gif.frames, 12);
  assert.equal(timelineWith(golden("chat_deleted_message")).rows()[0].deleted, true);
});
