/** The chat page: connects the room's stream, timeline, outbox and connection with the views. */

import { RoomConnection } from "../connection.js";
import { ConnectionCheck } from "../connection_check.js";
import { Outbox } from "../outbox.js";
import { moment, pageData, problemText, text } from "../page_data.js";
import { CHAT_NAMESPACE, DURABLE_EVENTS, Event } from "../protocol.js";
import { RoomStream } from "../room_stream.js";
import { RoomsApi } from "../rooms_api.js";
import { ServerClock } from "../server_clock.js";
import { openSocket } from "../sockets.js";
import { Timeline } from "../timeline.js";
import { BannerView } from "./banner.js";
import { ComposerView } from "./composer.js";
import { byId, element } from "./element.js";
import { MessagesView } from "./messages.js";
import { OwnerMenu } from "./owner_menu.js";
import { TypingView } from "./typing.js";

const ROWS_MAX = 600;
/** The limit while the user reads older messages in a busy room. */
const ROWS_MAX_AWAY_FROM_END = 3_000;

/** @type {Page.Wait} */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @type {Readonly<Record<string, string>>} */
const SANCTIONS = { kicked: "you_were_kicked", banned: "you_were_banned", muted: "you_are_muted" };

export function showRoom() {
  new RoomPage();
}

class RoomPage {
  #room = pageData.room;
  #members = pageData.room.members;
  #you = pageData.you;
  #clock = new ServerClock();
  #api = new RoomsApi(pageData.language, { clock: this.#clock });
  #stream = new RoomStream();
  #timeline = new Timeline(pageData.you.user_id);
  /** @type {Map<string, {file: File, url: string, gifId?: string}>} */
  #files = new Map();
  /** @type {number | null} */
  #frame = null;
  #loadingOlder = false;
  #joinedOnce = false;
  #older = byId("older");
  #log = byId("messages");
  #settings = byId("room-settings");
  #banner = new BannerView(byId("banner"));
  #typing = new TypingView(byId("typing"));
  #owner = new OwnerMenu(
    this.#api,
    () => this.#room,
    (words) => this.#composer.say(words),
  );
  #composer;
  #messages;
  #outbox;
  #connection;
  #connectionCheck;

  constructor() {
    const owns = this.#room.owner_id === this.#you.user_id;
    this.#messages = new MessagesView({
      scroller: this.#log,
      list: byId("message-list"),
      jump: byId("jump"),
      ownerId: this.#room.owner_id,
      actions: {
        onRetry: (row) => this.#retry(row.clientMessageId),
        onDiscard: (row) => this.#discard(row),
        onManage: owns ? (row) => this.#owner.openForMessage(row) : null,
      },
    });
    this.#composer = new ComposerView({
      clock: this.#clock,
      onText: (words) => this.#post({ text: words }),
      onGif: (file) => this.#postFile(file),
      onTyping: () => this.#connection.typing(),
    });
    this.#outbox = new Outbox({
      send: (message) => this.#attempt(message),
      onSent: (message) => this.#sent(message),
      onFailed: ({ clientMessageId }, problem) => this.#failed(clientMessageId, problem),
      wait,
    });
    this.#showRoom();
    const socket = openSocket(CHAT_NAMESPACE);
    this.#connection = new RoomConnection({
      socket,
      roomId: this.#room._id,
      fetchTicket: () => this.#api.ticket(this.#room._id),
      position: () => this.#stream.position,
      wait,
      handlers: {
        onStatus: (status, problem) => this.#status(status, problem),
        onJoined: (ack) => this.#joined(ack),
        onEvent: (event, data) => this.#event(event, data),
        onRefused: (problem) => this.#refused(problem),
      },
    });
    this.#connectionCheck = new ConnectionCheck({
      socket,
      reopen: () => this.#connection.reopen(),
      onDead: () => this.#banner.showDead(),
      onTime: (time) => this.#clock.sync(time),
    });
    this.#settings.hidden = !owns;
    this.#settings.addEventListener("click", () => this.#owner.openForRoom());
    this.#older.addEventListener("click", () => this.#loadOlder());
    const older = new IntersectionObserver(([entry]) => entry?.isIntersecting && this.#loadOlder(), {
      root: this.#log,
    });
    older.observe(this.#older);
    if (matchMedia("(pointer: fine)").matches) this.#composer.focus();
  }

  /**
   * @param {Page.Status} status
   * @param {Page.Problem} [problem]
   */
  #status(status, problem) {
    if (status === "joining") this.#stream.rejoining();
    this.#log.setAttribute("aria-busy", String(status !== "joined"));
    this.#banner.show(status, problem);
  }

  /** @param {Wire.Joined} ack */
  #joined(ack) {
    this.#clock.sync(ack.time);
    this.#room = ack.room;
    this.#members = ack.occupancy;
    this.#joinedOnce = true;
    this.#api.membership = ack.membership;
    this.#showRoom();
    const { reset, events, gap } = this.#stream.joined(ack);
    if (reset) this.#timeline.reset(events);
    else this.#deliver(events);
    this.#render();
    if (gap !== null) this.#fill();
  }

  /**
   * @param {string} event
   * @param {any} data
   */
  #event(event, data) {
    if (DURABLE_EVENTS.has(event)) {
      this.#received(this.#stream.receive(event, data));
      return;
    }
    switch (event) {
      case Event.JOIN:
      case Event.EXIT:
        this.#members += event === Event.JOIN ? 1 : -1;
        this.#timeline.addSystem({ code: event === Event.JOIN ? "joined" : "left", color: data.color });
        this.#typing.remove(data.user_id);
        break;
      case Event.PRESENCE:
        this.#presence(data);
        break;
      case Event.TYPING:
        this.#typing.add(data.user_id, data.user);
        break;
      case Event.SANCTION:
        this.#sanction(data);
        break;
      case Event.ROOM_CHANGED:
        this.#room = data;
        break;
      case Event.REMOVE_ROOM:
        if (data === this.#room._id) this.#leave(text("room_removed"));
        break;
      case Event.RESYNC:
        this.#resync();
        break;
    }
    this.#showRoom();
    this.#render();
  }

  /** @param {Page.Step} step */
  #received({ type, events }) {
    if (type === "resync") this.#resync();
    if (type === "gap") this.#fill();
    this.#deliver(events);
    this.#render();
  }

  /** @param {Wire.LogItem[]} events */
  #deliver(events) {
    for (const { event, data } of events) {
      this.#timeline.apply(event, data);
      if (event === "chat") this.#typing.remove(data.user_id);
      if (event === "notice") this.#room = { ...this.#room, slow_mode_s: data.slow_mode_s };
    }
    this.#timeline.trim(this.#messages.atEnd ? ROWS_MAX : ROWS_MAX_AWAY_FROM_END);
    this.#showRoom();
  }

  async #fill() {
    const after = this.#stream.position?.seq ?? 0;
    try {
      this.#received(this.#stream.filled(await this.#api.history(this.#room._id, { after })));
    } catch {
      this.#connection.join();
    }
  }

  #resync() {
    this.#stream.forget();
    this.#connection.join();
  }

  /** @param {Wire.Presence} event */
  #presence({ members, joined = {}, left = {} }) {
    this.#members = members;
    for (const [code, users] of Object.entries({ presence_joined: joined, presence_left: left })) {
      const count = Object.keys(users).length;
      if (count > 0) this.#timeline.addSystem({ code, count });
    }
  }

  /** @param {Wire.Sanction} event */
  #sanction({ code, until }) {
    const end = until === null ? null : new Date(until);
    const key = SANCTIONS[code];
    if (code === "unmuted") this.#composer.unmute(text("you_were_unmuted"));
    if (key === undefined) return;
    const words = text(end === null && code !== "kicked" ? `${key}_permanently` : key, {
      until: until && moment(until),
    });
    if (code === "muted") this.#composer.mute(end, words);
    else this.#leave(words);
  }

  /** @param {Page.Problem} problem */
  #refused(problem) {
    // After a reload the page asks for the password.
    if (problem.code === "password_required") location.reload();
    else this.#leave(problemText(problem));
  }

  /**
   * Leave the room for good: show the reason and a link to the list of rooms.
   *
   * @param {string} words
   */
  #leave(words) {
    this.#connectionCheck.stop();
    this.#connection.stop();
    this.#composer.close();
    this.#banner.show("joined");
    this.#typing.clear();
    this.#settings.hidden = true;
    const heading = element("h2", { tabindex: "-1" }, words);
    const back = element("a", { class: "button primary", href: "/" }, text("back_to_rooms"));
    byId("main").append(element("section", { class: "room-over", role: "alert" }, heading, back));
    heading.focus();
  }

  /** @param {{text: string}} content */
  #post(content) {
    const clientMessageId = this.#newMessage({ text: content.text });
    this.#outbox.put({ clientMessageId, content });
  }

  /** @param {File} file */
  #postFile(file) {
    const url = URL.createObjectURL(file);
    const clientMessageId = this.#newMessage({ gif: { url, stillUrl: url }, percent: 0 });
    this.#files.set(clientMessageId, { file, url });
    this.#upload(clientMessageId);
  }

  /** @param {string} clientMessageId */
  async #upload(clientMessageId) {
    const upload = this.#files.get(clientMessageId);
    if (upload === undefined) return;
    try {
      upload.gifId ??= (
        await this.#api.uploadGif(this.#room._id, upload.file, (percent) => {
          this.#timeline.progress(clientMessageId, percent);
          this.#render();
        })
      ).id;
    } catch (problem) {
      this.#takeSeatAgain(/** @type {Page.Problem} */ (problem));
      this.#failed(clientMessageId, /** @type {Page.Problem} */ (problem));
      return;
    }
    this.#timeline.progress(clientMessageId, undefined);
    this.#outbox.put({ clientMessageId, content: { gif: upload.gifId } });
  }

  /** @param {Pick<Page.Draft, "text" | "gif" | "percent">} draft */
  #newMessage(draft) {
    const clientMessageId = newId();
    const createdAt = new Date(this.#clock.now()).toISOString();
    this.#timeline.addPending({ clientMessageId, color: this.#you.color, createdAt, ...draft });
    this.#composer.say("");
    this.#messages.toEnd();
    this.#render();
    return clientMessageId;
  }

  /** @param {Wire.Chat} message */
  #sent(message) {
    this.#timeline.confirm(message);
    this.#forgetFile(message.client_message_id);
    this.#render();
  }

  /** @param {Page.Outgoing} message */
  async #attempt({ clientMessageId, content }) {
    try {
      return await this.#api.postMessage(this.#room._id, clientMessageId, content);
    } catch (error) {
      this.#takeSeatAgain(/** @type {Page.Problem} */ (error));
      throw error;
    }
  }

  /**
   * Join again if the user lost the seat. The join takes one before the next attempt, or returns the reason.
   *
   * @param {Page.Problem} problem
   */
  #takeSeatAgain(problem) {
    if (problem.code === "not_a_member") this.#connection.join();
  }

  /**
   * @param {string} clientMessageId
   * @param {Page.Problem} problem
   */
  #failed(clientMessageId, problem) {
    this.#timeline.fail(clientMessageId, problem);
    this.#render();
  }

  /** @param {string} clientMessageId */
  #retry(clientMessageId) {
    const row = this.#timeline.retry(clientMessageId);
    if (row === null) return;
    if (this.#files.has(clientMessageId)) this.#upload(clientMessageId);
    else this.#outbox.put({ clientMessageId, content: { text: row.text ?? "" } });
    this.#composer.focus();
    this.#render();
  }

  /** @param {Page.MessageRow} row */
  #discard(row) {
    this.#timeline.discard(row.clientMessageId);
    this.#forgetFile(row.clientMessageId);
    this.#composer.focus();
    this.#render();
  }

  /** @param {string} clientMessageId */
  #forgetFile(clientMessageId) {
    const upload = this.#files.get(clientMessageId);
    if (upload) URL.revokeObjectURL(upload.url);
    this.#files.delete(clientMessageId);
  }

  async #loadOlder() {
    const before = this.#timeline.oldestSeq;
    if (this.#loadingOlder || !this.#timeline.hasMore || before === null) return;
    this.#loadingOlder = true;
    // A screen reader should not read old messages aloud.
    this.#log.setAttribute("aria-live", "off");
    try {
      const page = await this.#api.history(this.#room._id, { before });
      if (page.epoch !== this.#stream.position?.epoch) {
        this.#resync();
        return;
      }
      this.#timeline.prepend(page.items, page.has_more);
    } catch (problem) {
      this.#composer.say(problemText(/** @type {Page.Problem} */ (problem)));
    } finally {
      this.#render();
      requestAnimationFrame(() => {
        this.#loadingOlder = false;
        this.#log.setAttribute("aria-live", "polite");
      });
    }
  }

  #showRoom() {
    const { title, private: isPrivate, max, slow_mode_s: slowMode } = this.#room;
    document.title = `${title} · GIF Chat`;
    byId("room-title").textContent = title;
    const kind = byId("room-kind");
    kind.textContent = text(isPrivate ? "private" : "public");
    kind.classList.toggle("private", isPrivate);
    byId("room-occupancy").textContent = text("members_of", { members: this.#members, max });
    this.#composer.setSlowMode(slowMode);
  }

  /** Draw the page in the next frame, once for all events until then. */
  #render() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#older.hidden = !this.#timeline.hasMore;
      const rows = this.#timeline.rows();
      byId("no-messages").hidden = !this.#joinedOnce || rows.length > 0;
      this.#messages.render(rows);
    });
  }
}

/** A random id. `crypto.randomUUID` exists only in pages loaded over TLS or from the same machine. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
