/**
 * A reader's place in a room's log. It orders durable events, drops duplicates and detects gaps. No I/O.
 *
 * The gateway delivers in order and repairs gaps itself. This class also copes with proxies, rejoins and bugs.
 */

const HELD_MAX = 512;

export class RoomStream {
  /**
   * The position of the last delivered event. It is null before the first join and after a resync.
   *
   * @type {Wire.Position | null}
   */
  position = null;
  /** @type {Map<number, Wire.LogItem>} */
  #held = new Map();
  #joining = true;
  #filling = false;

  /** A join is in flight. Events that arrive before its ack are held. */
  rejoining() {
    this.#joining = true;
    this.#filling = false;
    this.#held.clear();
  }

  /** Forget the position, because the numbering is no longer valid. */
  forget() {
    this.position = null;
    this.rejoining();
  }

  /**
   * Take in the ack of `join`. Returns {reset, events, gap}. If `reset` is true, `events` replace everything shown. If
   * `gap` is not null, the page must read the history after this seq.
   *
   * @param {Pick<Wire.Joined, "position" | "recent" | "recovered">} ack
   */
  joined({ position, recent, recovered }) {
    const known = recovered && this.position?.epoch === position.epoch ? this.position : null;
    const from = known?.seq ?? 0;
    const events = recent.filter(({ data }) => data.seq > from && data.seq <= position.seq);
    this.position = { epoch: position.epoch, seq: position.seq };
    this.#joining = false;
    const after = this.#drain(this.position);
    return { reset: known === null, events: [...events, ...after.events], gap: after.gap };
  }

  /**
   * Take in a durable event from the socket.
   *
   * Returns {type, events}. "deliver": the events can be shown now, in order. "duplicate": ignore it. "held": it waits
   * for the ack or the fill. "gap": read the history after `position.seq` and pass it to `filled`. "resync": join without
   * a position.
   *
   * @param {string} event
   * @param {Wire.LogItem["data"]} data
   * @returns {Page.Step}
   */
  receive(event, data) {
    const item = /** @type {Wire.LogItem} */ ({ event, data });
    if (this.#joining || this.position === null) {
      if (this.#held.size >= HELD_MAX) return { type: "resync", events: [] };
      this.#held.set(data.seq, item);
      return { type: "held", events: [] };
    }
    if (data.epoch !== this.position.epoch) return { type: "resync", events: [] };
    if (data.seq <= this.position.seq) return { type: "duplicate", events: [] };
    this.#held.set(data.seq, item);
    if (this.#held.size > HELD_MAX) return { type: "resync", events: [] };
    const { events, gap } = this.#drain(this.position);
    if (events.length > 0) return { type: "deliver", events };
    return { type: gap === null ? "held" : "gap", events };
  }

  /**
   * Take in a page of the history after the position.
   *
   * @param {Pick<Wire.HistoryPage, "epoch" | "items">} page
   * @returns {Page.Step} As `receive` does.
   */
  filled({ epoch, items }) {
    this.#filling = false;
    if (this.#joining || this.position === null) return { type: "held", events: [] };
    if (epoch !== this.position.epoch) return { type: "resync", events: [] };
    for (const item of items) {
      if (item.data.seq > this.position.seq) this.#held.set(item.data.seq, item);
    }
    const { events, gap } = this.#drain(this.position);
    if (events.length === 0) return { type: gap === null ? "duplicate" : "resync", events };
    return { type: gap === null ? "deliver" : "gap", events };
  }

  /**
   * Take all held events that follow the position without a gap.
   *
   * @param {Wire.Position} position The current position.
   */
  #drain({ epoch, seq }) {
    const events = [];
    for (const [heldSeq, { data }] of this.#held) {
      if (heldSeq <= seq || data.epoch !== epoch) this.#held.delete(heldSeq);
    }
    let last = seq;
    for (let next = this.#held.get(last + 1); next !== undefined; next = this.#held.get(last + 1)) {
      last = next.data.seq;
      this.#held.delete(last);
      events.push(next);
    }
    this.position = { epoch, seq: last };
    if (this.#held.size === 0) this.#filling = false;
    const gap = this.#held.size > 0 && !this.#filling ? last : null;
    if (gap !== null) this.#filling = true;
    return { events, gap };
  }
}
