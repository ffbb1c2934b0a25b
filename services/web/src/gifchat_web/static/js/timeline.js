/**
 * What a room page shows, as rows in order: the log, system lines where they happened, and at the end the user's own
 * messages that are not stored yet. No I/O and no DOM. A row that changes is a new object, so a view may compare by identity.
 *
 * Rows: {key, kind: "message", status: "pending" | "sent" | "failed", mine, userId, color, text | gif, deleted, …}
 *       {key, kind: "notice", code, seconds} · {key, kind: "system", code, color | count}
 */

import { Event } from "./protocol.js";

export class Timeline {
  /** Whether the log has entries before the oldest row. */
  hasMore = false;
  #myUserId;
  #log = [];
  #bySeq = new Map();
  #unsent = new Map();
  #deleted = new Set();
  #oldest = null;
  #systemCount = 0;

  constructor(myUserId) {
    this.#myUserId = myUserId;
  }

  /** All rows, in the order in which they are shown. */
  rows() {
    return [...this.#log, ...this.#unsent.values()];
  }

  /** The lowest seq that was loaded; null where there is none. Read the history before it. */
  get oldestSeq() {
    return this.#oldest;
  }

  /** Replace the log by a newest page of it; own messages that are not in it stay at the end. */
  reset(items) {
    this.#log = [];
    this.#bySeq.clear();
    this.#deleted.clear();
    this.#oldest = null;
    for (const { event, data } of items) this.apply(event, data);
    this.hasMore = this.#oldest !== null && this.#oldest > 1;
  }

  /** Add an older page of the log; `hasMore` as the page says it. */
  prepend(items, hasMore) {
    for (const { event, data } of items) this.apply(event, data);
    this.hasMore = hasMore;
  }

  /** A durable event; the same one twice changes nothing. */
  apply(event, data) {
    if (this.#oldest === null || data.seq < this.#oldest) this.#oldest = data.seq;
    if (event === Event.CHAT) this.#place(this.#messageRow(data));
    else if (event === Event.CHAT_DELETED) this.#markDeleted(data.target_seq);
    else if (event === Event.NOTICE) this.#place(noticeRow(data));
  }

  /** A line that is not in the log: someone came or left. `entry` is {code, color} or {code, count}. */
  addSystem(entry) {
    const order = this.#log.at(-1)?.order ?? 0;
    this.#log.push({ key: `system:${++this.#systemCount}`, kind: "system", order, ...entry });
  }

  /** An own message on its way: {clientMessageId, color, createdAt, text} or {…, gif, file}. */
  addPending(draft) {
    this.#unsent.set(draft.clientMessageId, {
      key: keyOfOwn(draft.clientMessageId),
      kind: "message",
      status: "pending",
      mine: true,
      userId: this.#myUserId,
      deleted: false,
      ...draft,
    });
  }

  /** The message is stored: `data` is the answer. Its event may have come before, or comes later. */
  confirm(data) {
    this.#place(this.#messageRow(data));
  }

  /** The message was not stored; `failure` is {code, message}. One that is in the log meanwhile stays sent. */
  fail(clientMessageId, failure) {
    this.#change(clientMessageId, { status: "failed", failure, percent: undefined });
  }

  /** The upload has got so far. */
  progress(clientMessageId, percent) {
    this.#change(clientMessageId, { percent });
  }

  /** Try a failed message again, with the same id. Returns its row, or null where there is nothing to try. */
  retry(clientMessageId) {
    if (this.#unsent.get(clientMessageId)?.status !== "failed") return null;
    this.#change(clientMessageId, { status: "pending", failure: undefined });
    return this.#unsent.get(clientMessageId);
  }

  /** Give a failed message up. */
  discard(clientMessageId) {
    this.#unsent.delete(clientMessageId);
  }

  /** Keep the newest `count` rows of the log; older ones can be loaded again. */
  trim(count) {
    if (this.#log.length <= count) return;
    for (const row of this.#log.splice(0, this.#log.length - count)) this.#bySeq.delete(row.seq);
    const first = this.#log.find((row) => row.seq !== undefined);
    this.#oldest = first?.seq ?? null;
    this.hasMore = true;
  }

  #change(clientMessageId, changes) {
    const row = this.#unsent.get(clientMessageId);
    if (row) this.#unsent.set(clientMessageId, { ...row, ...changes });
  }

  #messageRow(data) {
    const mine = data.user_id === this.#myUserId;
    const deleted = data.deleted === true || this.#deleted.has(data.seq);
    const row = {
      key: mine ? keyOfOwn(data.client_message_id) : `seq:${data.seq}`,
      kind: "message",
      status: "sent",
      order: data.seq,
      seq: data.seq,
      mine,
      userId: data.user_id,
      color: data.user,
      createdAt: data.createdAt,
      clientMessageId: data.client_message_id,
      deleted,
    };
    if (deleted) return row;
    if (data.gif === undefined) return { ...row, text: data.chat };
    const { url, still_url: stillUrl, width, height } = data.gif_info ?? { url: `/gif/${data.gif}` };
    return { ...row, gif: { url, stillUrl: stillUrl ?? url, width, height } };
  }

  #place(row) {
    if (row.mine) this.#unsent.delete(row.clientMessageId);
    const known = this.#bySeq.get(row.seq);
    if (known !== undefined) {
      if (row.deleted === known.deleted) return;
      this.#log[this.#log.indexOf(known)] = row;
    } else {
      let at = this.#log.length;
      while (at > 0 && this.#log[at - 1].order > row.order) at -= 1;
      this.#log.splice(at, 0, row);
    }
    this.#bySeq.set(row.seq, row);
  }

  #markDeleted(seq) {
    this.#deleted.add(seq);
    const row = this.#bySeq.get(seq);
    if (row === undefined || row.deleted) return;
    const { text: _text, gif: _gif, ...rest } = row;
    this.#place({ ...rest, deleted: true });
  }
}

function noticeRow(data) {
  return {
    key: `seq:${data.seq}`,
    kind: "notice",
    order: data.seq,
    seq: data.seq,
    code: data.code,
    seconds: data.slow_mode_s,
    createdAt: data.createdAt,
  };
}

function keyOfOwn(clientMessageId) {
  return `own:${clientMessageId}`;
}
