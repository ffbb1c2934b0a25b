/**
 * The user's messages that are not stored yet. The outbox sends them one by one, so that the server stores them in order. It retries a message with the same `client_message_id` a few times before it reports a failure.
 */

import { backoff } from "./backoff.js";
import { NETWORK_FAILED } from "./protocol.js";

const ATTEMPTS = 4;
const TRY_AGAIN = new Set([
  NETWORK_FAILED,
  "outcome_unknown",
  "unavailable",
  "admission_unavailable",
  "not_a_member", // the page joins again, and then has its seat
  "recovering",
  "rate_limited",
]);

export class Outbox {
  #send;
  #onSent;
  #onFailed;
  #wait;
  /** @type {Page.Outgoing[]} */
  #queue = [];
  #running = false;

  /**
   * `send(message)` resolves with the stored message, or rejects with a problem.
   *
   * @param {object} options
   * @param {(message: Page.Outgoing) => Promise<Wire.Chat>} options.send
   * @param {(stored: Wire.Chat) => void} options.onSent
   * @param {(message: Page.Outgoing, problem: Page.Problem) => void} options.onFailed
   * @param {Page.Wait} options.wait
   */
  constructor({ send, onSent, onFailed, wait }) {
    this.#send = send;
    this.#onSent = onSent;
    this.#onFailed = onFailed;
    this.#wait = wait;
  }

  /**
   * Send `message` after the messages before it.
   *
   * @param {Page.Outgoing} message
   */
  async put(message) {
    this.#queue.push(message);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) await this.#deliver(next);
    } finally {
      this.#running = false;
    }
  }

  /** @param {Page.Outgoing} message */
  async #deliver(message) {
    for (let attempt = 1; ; attempt += 1) {
      let problem;
      try {
        this.#onSent(await this.#send(message));
        return;
      } catch (error) {
        problem = /** @type {Page.Problem} */ (error);
      }
      if (attempt === ATTEMPTS || !TRY_AGAIN.has(problem.code)) {
        this.#onFailed(message, problem);
        return;
      }
      await this.#wait(backoff(attempt));
    }
  }
}
