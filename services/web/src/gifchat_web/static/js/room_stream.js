/**
 * A reader's place in a room's log: puts durable events in order, drops duplicates, notices gaps. No I/O.
 *
 * The gateway delivers in order and repairs gaps itself; this holds where a proxy, a rejoin or a bug does not.
 */

const HELD_MAX = 512;

export class RoomStream {
  /** Position {epoch, seq} of the last event that was delivered; null before the first join and after a resync. */
  position = null;
  #held = new Map();
  #joining = true;
  #filling = false;

  /** A join is on its way: what comes before its ack is held. */
  rejoining() {
    this.#joining = true;
    this.#filling = false;
    this.#held.clear();
  }

  /** The numbering is void: forget the position. */
  forget() {
    this.position = null;
    this.rejoining();
  }

  /**
   * The ack of `join`. Returns {reset, events, gap}: `reset` says that `events` replace everything shown; `gap`, where
   * it is not null, that what follows this seq is to be read from the history.
   */
  joined({ position, recent, recovered }) {
    const continues = recovered && this.position !== null && this.position.epoch === position.epoch;
    const from = continues ? this.position.seq : 0;
    const events = recent.filter(({ data }) => data.seq > from && data.seq <= position.seq);
    this.position = { epoch: position.epoch, seq: position.seq };
    this.#joining = false;
    const after = this.#drain();
    return { reset: !continues, events: [...events, ...after.events], gap: after.gap };
  }

  /**
   * A durable event from the socket.
   *
   * Returns {type, events}: "deliver" with the events that can be shown now, in order; "duplicate"; "held" until the ack
   * or the fill; "gap": read the history after `position.seq` and pass it to `filled`; "resync": join without position.
   */
  receive(event, data) {
    if (this.#joining) {
      if (this.#held.size >= HELD_MAX) return { type: "resync", events: [] };
      this.#held.set(data.seq, { event, data });
      return { type: "held", events: [] };
    }
    if (data.epoch !== this.position.epoch) return { type: "resync", events: [] };
    if (data.seq <= this.position.seq) return { type: "duplicate", events: [] };
    this.#held.set(data.seq, { event, data });
    if (this.#held.size > HELD_MAX) return { type: "resync", events: [] };
    const { events, gap } = this.#drain();
    if (events.length > 0) return { type: "deliver", events };
    return { type: gap === null ? "held" : "gap", events };
  }

  /** A page of the history {epoch, items} after the position. Returns the same as `receive`. */
  filled({ epoch, items }) {
    this.#filling = false;
    if (this.#joining) return { type: "held", events: [] };
    if (epoch !== this.position.epoch) return { type: "resync", events: [] };
    for (const item of items) {
      if (item.data.seq > this.position.seq) this.#held.set(item.data.seq, item);
    }
    const { events, gap } = this.#drain();
    if (events.length === 0) return { type: gap === null ? "duplicate" : "resync", events };
    return { type: gap === null ? "deliver" : "gap", events };
  }

  /** Take from what is held all that follows the position without a hole. */
  #drain() {
    const events = [];
    for (const [seq, { data }] of this.#held) {
      if (seq <= this.position.seq || data.epoch !== this.position.epoch) this.#held.delete(seq);
    }
    for (;;) {
      const next = this.#held.get(this.position.seq + 1);
      if (next === undefined) break;
      this.#held.delete(next.data.seq);
      this.position = { epoch: this.position.epoch, seq: next.data.seq };
      events.push(next);
    }
    if (this.#held.size === 0) this.#filling = false;
    const gap = this.#held.size > 0 && !this.#filling ? this.position.seq : null;
    if (gap !== null) this.#filling = true;
    return { events, gap };
  }
}
