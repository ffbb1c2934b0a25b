/**
 * The rows of a room page, in order: the log with system lines in between, and at the end the user's own messages that
 * are not stored yet. No I/O and no DOM. A changed row is a new object, so a view can compare rows by identity.
 */

import { Event } from "./protocol.js";

/** @typedef {(Page.MessageRow | Page.NoticeRow) & {order: number, seq: number}} LogRow */

export class Timeline {
  /** Whether the log has entries before the oldest row. */
  hasMore = false;
  #myUserId;
  /** @type {Page.Row[]} */
  #log = [];
  /** @type {Map<number | undefined, LogRow>} */
  #bySeq = new Map();
  /** @type {Map<string, Page.MessageRow>} */
  #unsent = new Map();
  /** @type {Set<number>} */
  #deleted = new Set();
  /** @type {number | null} */
  #oldest = null;
  #systemCount = 0;

  /** @param {string} myUserId */
  constructor(myUserId) {
    this.#myUserId = myUserId;
  }

  /**
   * All rows, in the order in which they are shown.
   *
   * @returns {Page.Row[]}
   */
  rows() {
    return [...this.#log, ...this.#unsent.values()];
  }

  /** The lowest loaded seq, or null. Older history comes before it. */
  get oldestSeq() {
    return this.#oldest;
  }

  /**
   * Replace the log by a newest page of it. The user's own messages that are not in it stay at the end.
   *
   * @param {Wire.LogItem[]} items
   */
  reset(items) {
    this.#log = [];
    this.#bySeq.clear();
    this.#deleted.clear();
    this.#oldest = null;
    for (const { event, data } of items) this.apply(event, data);
    this.hasMore = this.#oldest !== null && this.#oldest > 1;
  }

  /**
   * Add an older page of the log.
   *
   * @param {Wire.LogItem[]} items
   * @param {boolean} hasMore Whether the log has entries before this page.
   */
  prepend(items, hasMore) {
    for (const { event, data } of items) this.apply(event, data);
    this.hasMore = hasMore;
  }

  /**
   * Apply a durable event. The same event twice changes nothing.
   *
   * @param {string} event
   * @param {Wire.LogItem["data"]} data
   */
  apply(event, data) {
    if (this.#oldest === null || data.seq < this.#oldest) this.#oldest = data.seq;
    if (event === Event.CHAT) this.#place(this.#messageRow(/** @type {Wire.Chat} */ (data)));
    else if (event === Event.CHAT_DELETED) this.#markDeleted(/** @type {Wire.ChatDeleted} */ (data).target_seq);
    else if (event === Event.NOTICE) this.#place(noticeRow(/** @type {Wire.Notice} */ (data)));
  }

  /**
   * Add a line that is not in the log: someone joined or left.
   *
   * @param {{code: string, color?: string, count?: number}} entry
   */
  addSystem(entry) {
    const order = this.#log.at(-1)?.order ?? 0;
    this.#log.push({ key: `system:${++this.#systemCount}`, kind: "system", order, ...entry });
  }

  /**
   * Add one of the user's messages before it is stored.
   *
   * @param {Page.Draft} draft
   */
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

  /**
   * Mark a message as stored. Its event may arrive before or after this answer.
   *
   * @param {Wire.Chat} data
   */
  confirm(data) {
    this.#place(this.#messageRow(data));
  }

  /**
   * Mark a message as failed, unless its event has arrived meanwhile.
   *
   * @param {string} clientMessageId
   * @param {Page.Problem} failure
   */
  fail(clientMessageId, failure) {
    this.#change(clientMessageId, { status: "failed", failure, percent: undefined });
  }

  /**
   * Show the progress of an upload.
   *
   * @param {string} clientMessageId
   * @param {number | undefined} percent Undefined: the upload is over.
   */
  progress(clientMessageId, percent) {
    this.#change(clientMessageId, { percent });
  }

  /**
   * Try a failed message again, with the same id. Returns its row, or null if there is nothing to retry.
   *
   * @param {string} clientMessageId
   */
  retry(clientMessageId) {
    if (this.#unsent.get(clientMessageId)?.status !== "failed") return null;
    return this.#change(clientMessageId, { status: "pending", failure: undefined });
  }

  /**
   * Remove a failed message.
   *
   * @param {string} clientMessageId
   */
  discard(clientMessageId) {
    this.#unsent.delete(clientMessageId);
  }

  /**
   * Keep the newest `count` rows of the log. The reader can load older rows again.
   *
   * @param {number} count
   */
  trim(count) {
    if (this.#log.length <= count) return;
    for (const row of this.#log.splice(0, this.#log.length - count)) this.#bySeq.delete(seqOf(row));
    this.#oldest = this.#log.map(seqOf).find((seq) => seq !== undefined) ?? null;
    this.hasMore = true;
  }

  /**
   * @param {string} clientMessageId
   * @param {Partial<Page.MessageRow>} changes
   */
  #change(clientMessageId, changes) {
    const row = this.#unsent.get(clientMessageId);
    if (row === undefined) return null;
    const changed = { ...row, ...changes };
    this.#unsent.set(clientMessageId, changed);
    return changed;
  }

  /**
   * @param {Wire.Chat} data
   * @returns {LogRow}
   */
  #messageRow(data) {
    const mine = data.user_id === this.#myUserId;
    const deleted = data.deleted === true || this.#deleted.has(data.seq);
    /** @type {Page.MessageRow & {order: number, seq: number}} */
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
    const url = data.gif_info?.url ?? `/gif/${data.gif}`;
    const { still_url: stillUrl = url, width, height, frames } = data.gif_info ?? {};
    return { ...row, gif: { url, stillUrl, width, height, frames } };
  }

  /** @param {LogRow} row */
  #place(row) {
    if (row.kind === "message" && row.mine) this.#unsent.delete(row.clientMessageId);
    const known = this.#bySeq.get(row.seq);
    if (known !== undefined) {
      if (isDeleted(row) === isDeleted(known)) return;
      this.#log[this.#log.indexOf(known)] = row;
    } else {
      let at = this.#log.length;
      while ((this.#log[at - 1]?.order ?? -Infinity) > row.order) at -= 1;
      this.#log.splice(at, 0, row);
    }
    this.#bySeq.set(row.seq, row);
  }

  /** @param {number} seq */
  #markDeleted(seq) {
    this.#deleted.add(seq);
    const row = this.#bySeq.get(seq);
    if (row?.kind !== "message" || row.deleted) return;
    const { text: _text, gif: _gif, ...rest } = row;
    this.#place({ ...rest, deleted: true });
  }
}

/**
 * @param {Wire.Notice} data
 * @returns {LogRow}
 */
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

/** @param {Page.Row} row */
function seqOf(row) {
  return row.kind === "system" ? undefined : row.seq;
}

/** @param {LogRow} row */
function isDeleted(row) {
  return row.kind === "message" && row.deleted;
}

/** @param {string} clientMessageId */
function keyOfOwn(clientMessageId) {
  return `own:${clientMessageId}`;
}
