/**
 * The server's clock, set by its responses. The page's own wall clock may be hours off, so this clock runs on the
 * monotonic clock between two responses.
 *
 * The page reads a response a little after the server wrote it, so this clock may be late but is never early. A mute
 * never ends here before it ends on the server.
 */

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** @typedef {{moment: number, callback: () => void, timer: any}} Alarm */

export class ServerClock {
  #monotonic;
  #setTimer;
  #clearTimer;
  /**
   * Server time minus monotonic time, in ms, or null before the first response.
   *
   * @type {number | null}
   */
  #offset = null;
  /** @type {Set<Alarm>} */
  #alarms = new Set();

  /**
   * @param {object} options
   * @param {() => number} [options.monotonic]
   * @param {(callback: () => void, ms: number) => any} [options.setTimer]
   * @param {(timer: any) => void} [options.clearTimer]
   */
  constructor({
    monotonic = () => performance.now(),
    setTimer = (callback, ms) => setTimeout(callback, ms),
    clearTimer = (timer) => clearTimeout(timer),
  } = {}) {
    this.#monotonic = monotonic;
    this.#setTimer = setTimer;
    this.#clearTimer = clearTimer;
  }

  /** Now, in ms since 1970. Before the first response it is the page's own time. */
  now() {
    return this.#offset === null ? Date.now() : this.#monotonic() + this.#offset;
  }

  /**
   * Set the clock to the `time` of an ack that has just arrived.
   *
   * @param {string | undefined} time
   */
  sync(time) {
    const serverTime = Date.parse(time ?? "");
    if (!Number.isNaN(serverTime)) this.#set(serverTime);
  }

  /**
   * Set the clock by an HTTP `Date` header. It has whole seconds, so it only ever moves the clock forward.
   *
   * @param {string | null} header
   */
  syncToDate(header) {
    const serverTime = Date.parse(header ?? "");
    if (this.#offset === null ? !Number.isNaN(serverTime) : serverTime > this.now()) this.#set(serverTime);
  }

  /**
   * Call `callback` when this clock reaches `moment`, even if the clock is set meanwhile. Returns a cancel function.
   *
   * @param {number} moment In ms since 1970.
   * @param {() => void} callback
   */
  at(moment, callback) {
    /** @type {Alarm} */
    const alarm = { moment, callback, timer: undefined };
    this.#alarms.add(alarm);
    this.#arm(alarm);
    return () => {
      this.#alarms.delete(alarm);
      this.#clearTimer(alarm.timer);
    };
  }

  /** @param {number} serverTime */
  #set(serverTime) {
    this.#offset = serverTime - this.#monotonic();
    for (const alarm of this.#alarms) this.#arm(alarm);
  }

  /** @param {Alarm} alarm */
  #arm(alarm) {
    this.#clearTimer(alarm.timer);
    const left = Math.ceil(alarm.moment - this.now());
    alarm.timer = this.#setTimer(() => this.#ring(alarm), Math.min(LONGEST_TIMER_MS, Math.max(0, left)));
  }

  /** @param {Alarm} alarm */
  #ring(alarm) {
    if (alarm.moment > this.now()) {
      this.#arm(alarm);
      return;
    }
    this.#alarms.delete(alarm);
    alarm.callback();
  }
}
