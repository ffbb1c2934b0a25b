/**
 * Finds out, when the page wakes up, whether its line died while it slept: nothing tells a page that a phone dropped its
 * connection. It sends a `probe`; without an ack in time the line counts as dead, and the socket is opened again at once.
 */

import { Event } from "./protocol.js";

export const ANSWER_MS = 2_500;
/** Waking up is several events in a row: visibilitychange, pageshow, focus, online. */
const BURST_MS = 500;
const TICK_MS = 1_000;
/** Timers that did not run for so long: the machine was suspended. */
const ASLEEP_MS = 5_000;

export class LineCheck {
  #socket;
  #reopen;
  #onDead;
  #onTime;
  #document;
  #now;
  #clearTicker;
  #tickedAt;
  #probedAt = -Infinity;
  /** When the attempt to connect that is under way began. */
  #attemptedAt;
  #probing = false;
  #stopped = false;

  /**
   * `reopen()` closes the socket and opens it again. `onDead()`: the line has just been found dead. `onTime(time)`: the
   * server's clock, from an ack. `now()` is a wall clock, because a monotonic one may stand still in a suspended machine.
   */
  constructor({
    socket,
    reopen,
    onDead,
    onTime,
    page = globalThis,
    document = globalThis.document,
    now = () => Date.now(),
    setTicker = (callback, ms) => setInterval(callback, ms),
    clearTicker = (ticker) => clearInterval(ticker),
  }) {
    this.#socket = socket;
    this.#reopen = reopen;
    this.#onDead = onDead;
    this.#onTime = onTime;
    this.#document = document;
    this.#now = now;
    this.#tickedAt = now();
    this.#attemptedAt = now();
    const attempts = () => (this.#attemptedAt = now());
    const waits = () => (this.#attemptedAt = -Infinity);
    socket.io.on("reconnect_attempt", attempts);
    for (const event of ["disconnect", "connect_error"]) socket.on(event, waits);
    document.addEventListener("visibilitychange", () => this.#visible && this.check());
    document.addEventListener("resume", () => this.check());
    page.addEventListener("pageshow", ({ persisted }) => persisted && this.check());
    for (const event of ["online", "focus"]) page.addEventListener(event, () => this.check());
    const ticker = setTicker(() => this.#tick(), TICK_MS);
    this.#clearTicker = () => clearTicker(ticker);
  }

  /** The page woke up: probe the line. A socket that waits before it connects again connects now. */
  async check() {
    if (this.#stopped || this.#probing) return;
    if (!this.#socket.connected) {
      // An attempt that has just begun gets as long as a probe.
      if (!this.#within(ANSWER_MS, this.#attemptedAt)) this.#openAgain();
      return;
    }
    if (this.#within(BURST_MS, this.#probedAt)) return;
    this.#probing = true;
    this.#probedAt = this.#now();
    const ack = await this.#probe();
    this.#probing = false;
    if (this.#stopped) return;
    if (ack === null) {
      this.#onDead();
      this.#openAgain();
    } else if (ack.ok) {
      this.#onTime(ack.time);
    }
  }

  /** The page needs no line any more. */
  stop() {
    this.#stopped = true;
    this.#clearTicker();
  }

  get #visible() {
    return this.#document.visibilityState === "visible";
  }

  /** The ack, also of a refusal, which is an answer like any other; null where none came in time. */
  async #probe() {
    try {
      return await this.#socket.timeout(ANSWER_MS).emitWithAck(Event.PROBE);
    } catch {
      return null;
    }
  }

  #openAgain() {
    this.#reopen();
    this.#attemptedAt = this.#now();
  }

  /** Browsers slow the timers of hidden pages down, so there lateness means nothing. */
  #tick() {
    const late = this.#now() - this.#tickedAt >= ASLEEP_MS;
    this.#tickedAt = this.#now();
    if (late && this.#visible) this.check();
  }

  /** Whether `moment` was less than `ms` ago. A wall clock that was set back says nothing. */
  #within(ms, moment) {
    const passed = this.#now() - moment;
    return passed >= 0 && passed < ms;
  }
}
