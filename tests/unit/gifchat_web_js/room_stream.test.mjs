import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { RoomStream } = await load("room_stream.js");

const EPOCH = "0123456789abcdef";
const item = (seq, epoch = EPOCH) => ({ event: "chat", data: { seq, epoch } });
const seqs = (events) => events.map(({ data }) => data.seq);
const receive = (stream, seq, epoch) => {
  const { type, events } = stream.receive("chat", item(seq, epoch).data);
  return [type, seqs(events)];
};
const ack = (seq, recent = [], recovered = false, epoch = EPOCH) => ({ position: { epoch, seq }, recent, recovered });

function joinedAt(seq) {
  const stream = new RoomStream();
  stream.joined(ack(seq));
  return stream;
}

test("the first join shows the newest page", () => {
  const stream = new RoomStream();
  const { reset, events, gap } = stream.joined(ack(3, [item(2), item(3)]));
  assert.deepEqual([reset, seqs(events), gap], [true, [2, 3], null]);
  assert.deepEqual(stream.position, { epoch: EPOCH, seq: 3 });
});

test("events in order are delivered, and old ones are duplicates", () => {
  const stream = joinedAt(3);
  assert.deepEqual(receive(stream, 4), ["deliver", [4]]);
  assert.deepEqual(receive(stream, 4), ["duplicate", []]);
  assert.deepEqual(receive(stream, 2), ["duplicate", []]);
});

test("a gap is reported once, and held events follow the missing ones", () => {
  const stream = joinedAt(3);
  assert.deepEqual(receive(stream, 6), ["gap", []]);
  assert.deepEqual(receive(stream, 7), ["held", []]);
  const { type, events } = stream.filled({ epoch: EPOCH, items: [item(4), item(5), item(6)] });
  assert.deepEqual([type, seqs(events)], ["deliver", [4, 5, 6, 7]]);
  assert.deepEqual(receive(stream, 8), ["deliver", [8]]);
});

test("a gap that closes by itself needs no fill", () => {
  const stream = joinedAt(3);
  receive(stream, 5);
  assert.deepEqual(receive(stream, 4), ["deliver", [4, 5]]);
  assert.deepEqual(receive(stream, 7), ["gap", []]);
});

test("a short fill asks again, and an empty fill is a resync", () => {
  const stream = joinedAt(3);
  receive(stream, 9);
  const { type, events } = stream.filled({ epoch: EPOCH, items: [item(4), item(5)] });
  assert.deepEqual([type, seqs(events)], ["gap", [4, 5]]);
  assert.equal(stream.filled({ epoch: EPOCH, items: [] }).type, "resync");
});

test("another epoch is a resync", () => {
  const stream = joinedAt(3);
  assert.deepEqual(receive(stream, 4, "f".repeat(16)), ["resync", []]);
  assert.equal(stream.filled({ epoch: "f".repeat(16), items: [item(4)] }).type, "resync");
});

test("events before the ack of a rejoin are delivered after the missed ones", () => {
  const stream = joinedAt(3);
  stream.rejoining();
  assert.deepEqual(receive(stream, 6), ["held", []]);
  assert.deepEqual(receive(stream, 5), ["held", []]);
  const { reset, events, gap } = stream.joined(ack(5, [item(4), item(5)], true));
  assert.deepEqual([reset, seqs(events), gap], [false, [4, 5, 6], null]);
});

test("a rejoin that did not recover replaces everything", () => {
  const stream = joinedAt(3);
  stream.rejoining();
  const { reset, events } = stream.joined(ack(900, [item(899), item(900)], false));
  assert.deepEqual([reset, seqs(events)], [true, [899, 900]]);
});

test("a recovery in another epoch is not trusted", () => {
  const stream = joinedAt(3);
  stream.rejoining();
  assert.equal(stream.joined(ack(1, [item(1, "f".repeat(16))], true, "f".repeat(16))).reset, true);
});

test("after a resync there is no position until the next join", () => {
  const stream = joinedAt(3);
  stream.forget();
  assert.equal(stream.position, null);
  assert.equal(stream.joined(ack(4, [item(4)], true)).reset, true);
});

test("a gap after the ack is reported with the ack", () => {
  const stream = joinedAt(3);
  stream.rejoining();
  receive(stream, 7);
  assert.equal(stream.joined(ack(5, [item(4), item(5)], true)).gap, 5);
});

test("events in any order, with repeats, are each delivered once and in order", () => {
  let state = 7;
  const random = (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  for (let run = 0; run < 200; run += 1) {
    const stream = joinedAt(0);
    const log = Array.from({ length: 12 }, (_unused, at) => item(at + 1));
    const shown = [];
    const wire = log.flatMap((entry) => [entry, entry].slice(random(3) === 0 ? 1 : 0)).sort(() => random(3) - 1);
    for (const { data } of wire.slice(random(8))) {
      let answer = stream.receive("chat", data);
      shown.push(...seqs(answer.events));
      while (answer.type === "gap") {
        const after = stream.position.seq;
        answer = stream.filled({ epoch: EPOCH, items: log.slice(after, after + 1 + random(4)) });
        shown.push(...seqs(answer.events));
      }
    }
    assert.deepEqual(
      shown,
      Array.from({ length: shown.length }, (_unused, at) => at + 1),
    );
  }
});
