/**
 * Own messages on their way to the server: one after the other, so that they are stored in the order in which they were
 * written. What may succeed later is tried again with the same `client_message_id`, and then given back as failed.
 */

import { backoff } from "./backoff.js";
import { NETWORK_FAILED } from "./protocol.js";

const ATTEMPTS = 4;
const TRY_AGAIN = new Set([
  NETWORK_FAILED,
  "outcome_unknown",
  "unavailable",
  "admission_unavailable",
  "recovering",
  "rate_limited",
]);

export class Outbox {
  #send;
  #onSent;
  #onFailed;
  #wait;
  #queue = [];
  #running = false;

  /** `send(message)` resolves with the stored message or rejects with a problem {code}; `wait(ms)` passes the time. */
  constructor({ send, onSent, onFailed, wait }) {
    this.#send = send;
    this.#onSent = onSent;
    this.#onFailed = onFailed;
    this.#wait = wait;
  }

  /** Send `message`, which has a `clientMessageId`, after those before it. */
  async put(message) {
    this.#queue.push(message);
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#queue.length > 0) await this.#deliver(this.#queue.shift());
    } finally {
      this.#running = false;
    }
  }

  async #deliver(message) {
    for (let attempt = 1; ; attempt += 1) {
      let problem;
      try {
        this.#onSent(await this.#send(message));
        return;
      } catch (error) {
        problem = error;
      }
      if (attempt === ATTEMPTS || !TRY_AGAIN.has(problem.code)) {
        this.#onFailed(message, problem);
        return;
      }
      await this.#wait(backoff(attempt));
    }
  }
}
