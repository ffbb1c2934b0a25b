import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { backoff } = await load("backoff.js");
const { Outbox } = await load("outbox.js");

/** An outbox over a server that gives `answers` in turn: an error code, or "ok". */
function outboxOver(...answers) {
  const log = [];
  const outbox = new Outbox({
    send: async ({ clientMessageId }) => {
      const answer = answers.shift() ?? "ok";
      log.push(`${clientMessageId}→${answer}`);
      if (answer !== "ok") throw Object.assign(new Error(answer), { code: answer });
      return clientMessageId;
    },
    onSent: (message) => log.push(`sent ${message}`),
    onFailed: ({ clientMessageId }, { code }) => log.push(`failed ${clientMessageId} ${code}`),
    wait: async () => log.push("wait"),
  });
  return { outbox, log };
}

test("messages are sent one after the other", async () => {
  const { outbox, log } = outboxOver();
  await Promise.all([outbox.put({ clientMessageId: "a" }), outbox.put({ clientMessageId: "b" })]);
  assert.deepEqual(log, ["a→ok", "sent a", "b→ok", "sent b"]);
});

test("a temporary failure is retried with the same id before the next message is sent", async () => {
  const { outbox, log } = outboxOver("outcome_unknown", "network_failed");
  const first = outbox.put({ clientMessageId: "a" });
  await Promise.all([first, outbox.put({ clientMessageId: "b" })]);
  assert.deepEqual(log, ["a→outcome_unknown", "wait", "a→network_failed", "wait", "a→ok", "sent a", "b→ok", "sent b"]);
});

test("a refusal is reported at once, an outage after several attempts", async () => {
  const refused = outboxOver("muted");
  await refused.outbox.put({ clientMessageId: "a" });
  assert.deepEqual(refused.log, ["a→muted", "failed a muted"]);
  const away = outboxOver(...Array(9).fill("unavailable"));
  await away.outbox.put({ clientMessageId: "a" });
  assert.equal(away.log.filter((line) => line === "wait").length, 3);
  assert.equal(away.log.at(-1), "failed a unavailable");
});

test("the wait doubles up to its limit, and half of it is random", () => {
  assert.equal(backoff(1, { random: () => 0 }), 250);
  assert.equal(backoff(1, { random: () => 1 }), 500);
  assert.equal(backoff(3, { random: () => 1 }), 2_000);
  assert.equal(backoff(30, { random: () => 1 }), 8_000);
});
