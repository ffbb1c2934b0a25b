/**
 * Checks, when the page wakes up, whether its connection died while it slept. No event tells a page that a phone dropped
 * its connection, so the check sends a `probe`. If no ack comes in time, the connection is dead, and the check reopens the
 * socket at once.
 */

import { Event } from "./protocol.js";

export const ANSWER_MS = 2_500;
/** A page that wakes up gets several events in a row: visibilitychange, pageshow, focus, online. */
const BURST_MS = 500;
const TICK_MS = 1_000;
/** If no timer ran for this long, the machine was suspended. */
const ASLEEP_MS = 5_000;

export class ConnectionCheck {
  #socket;
  #reopen;
  #onDead;
  #onTime;
  #document;
  #now;
  #clearTicker;
  #tickedAt;
  #probedAt = -Infinity;
  /** When the current attempt to connect began. */
  #attemptedAt;
  #probing = false;
  #stopped = false;

  /**
   * `reopen()` closes the socket and opens it again. `onDead()` is called when the connection is dead, `onTime(time)`
   * with the server's time from an ack. `now()` is a wall clock: a monotonic one may stop while the machine is suspended.
   *
   * @param {object} options
   * @param {Page.Socket} options.socket
   * @param {() => void} options.reopen
   * @param {() => void} options.onDead
   * @param {(time: string) => void} options.onTime
   * @param {EventTarget} [options.page]
   * @param {EventTarget & {visibilityState: string}} [options.document]
   * @param {() => number} [options.now]
   * @param {(callback: () => void, ms: number) => any} [options.setTicker]
   * @param {(ticker: any) => void} [options.clearTicker]
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
    const attemptBegan = () => (this.#attemptedAt = now());
    const attemptEnded = () => (this.#attemptedAt = -Infinity);
    socket.io.on("reconnect_attempt", attemptBegan);
    for (const event of ["disconnect", "connect_error"]) socket.on(event, attemptEnded);
    document.addEventListener("visibilitychange", () => this.#visible && this.check());
    document.addEventListener("resume", () => this.check());
    page.addEventListener("pageshow", (event) => {
      if (/** @type {PageTransitionEvent} */ (event).persisted) this.check();
    });
    for (const event of ["online", "focus"]) page.addEventListener(event, () => this.check());
    const ticker = setTicker(() => this.#tick(), TICK_MS);
    this.#clearTicker = () => clearTicker(ticker);
  }

  /** Probe the connection after the page woke up. If the socket waits to reconnect, reconnect now. */
  async check() {
    if (this.#stopped || this.#probing) return;
    if (!this.#socket.connected) {
      // An attempt to connect gets as much time as a probe.
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

  /** Stop checking when the page no longer needs a connection. */
  stop() {
    this.#stopped = true;
    this.#clearTicker();
  }

  get #visible() {
    return this.#document.visibilityState === "visible";
  }

  /**
   * Send a probe and return its ack, which may be a refusal. Returns null if no ack came in time.
   *
   * @returns {Promise<{ok: true, time: string} | {ok: false} | null>}
   */
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

  /** Hidden pages are ignored, because browsers slow down their timers. */
  #tick() {
    const late = this.#now() - this.#tickedAt >= ASLEEP_MS;
    this.#tickedAt = this.#now();
    if (late && this.#visible) this.check();
  }

  /**
   * Whether `moment` was less than `ms` ago; false if the wall clock was set back since.
   *
   * @param {number} ms
   * @param {number} moment
   */
  #within(ms, moment) {
    const passed = this.#now() - moment;
    return passed >= 0 && passed < ms;
  }
}
