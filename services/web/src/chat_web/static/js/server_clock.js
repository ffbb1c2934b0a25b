/**
 * The server's clock, as its answers tell it. The page's own wall clock may be hours off, so nothing here trusts it:
 * between two answers the monotonic clock runs on.
 *
 * An answer is read a little after the server wrote it. So this clock is late by that delay, and never early: a mute is
 * not over here before it is over there.
 */

const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class ServerClock {
  #monotonic;
  #setTimer;
  #clearTimer;
  /** Server time minus monotonic time, in ms; null before the first answer. */
  #offset = null;
  #alarms = new Set();

  constructor({
    monotonic = () => performance.now(),
    setTimer = (callback, ms) => setTimeout(callback, ms),
    clearTimer = (timer) => clearTimeout(timer),
  } = {}) {
    this.#monotonic = monotonic;
    this.#setTimer = setTimer;
    this.#clearTimer = clearTimer;
  }

  /** Now, in ms since 1970. Before any answer only the page's own clock is there to ask. */
  now() {
    return this.#offset === null ? Date.now() : this.#monotonic() + this.#offset;
  }

  /** The `time` of an ack that has just arrived: the newest one counts. */
  hear(time) {
    const heard = Date.parse(time);
    if (!Number.isNaN(heard)) this.#set(heard);
  }

  /** The `Date` header of an HTTP answer. It has whole seconds, so it counts only where this clock is behind it. */
  hearDate(header) {
    const heard = Date.parse(header ?? "");
    if (this.#offset === null ? !Number.isNaN(heard) : heard > this.now()) this.#set(heard);
  }

  /** Call `callback` when this clock says `moment` (ms since 1970), however it is set meanwhile. Returns a way to cancel. */
  at(moment, callback) {
    const alarm = { moment, callback, timer: undefined };
    this.#alarms.add(alarm);
    this.#arm(alarm);
    return () => {
      this.#alarms.delete(alarm);
      this.#clearTimer(alarm.timer);
    };
  }

  #set(heard) {
    this.#offset = heard - this.#monotonic();
    for (const alarm of this.#alarms) this.#arm(alarm);
  }

  #arm(alarm) {
    this.#clearTimer(alarm.timer);
    const left = Math.ceil(alarm.moment - this.now());
    alarm.timer = this.#setTimer(() => this.#ring(alarm), Math.min(LONGEST_TIMER_MS, Math.max(0, left)));
  }

  #ring(alarm) {
    if (alarm.moment > this.now()) {
      this.#arm(alarm);
      return;
    }
    this.#alarms.delete(alarm);
    alarm.callback();
  }
}
