/**
 * One room over one socket. It joins with a fresh ticket. After every reconnect, refused ticket or gateway restart it
 * joins again with the reader's position, until it is told to stop.
 */

import { backoff } from "./backoff.js";
import { Action, Event, SPENT_TICKET, actionOf } from "./protocol.js";
/** @import { ApiProblem } from "./rooms_api.js" */

const ACK_TIMEOUT_MS = 10_000;

/**
 * @typedef {object} Handlers
 * @property {(status: Page.Status, problem?: Page.Problem) => void} onStatus
 * @property {(ack: Wire.Joined) => void} onJoined
 * @property {(event: string, data: any) => void} onEvent
 * @property {(problem: Page.Problem) => void} onRefused The user cannot join the room.
 */

export class RoomConnection {
  #socket;
  #roomId;
  #fetchTicket;
  #position;
  #handlers;
  #wait;
  #round = 0;
  #failures = 0;
  #stopped = false;

  /**
   * `fetchTicket()` resolves with a ticket. `position()` returns the reader's position, or null.
   *
   * @param {object} options
   * @param {Page.Socket} options.socket
   * @param {string} options.roomId
   * @param {() => Promise<string>} options.fetchTicket
   * @param {() => Wire.Position | null} options.position
   * @param {Handlers} options.handlers
   * @param {Page.Wait} options.wait
   */
  constructor({ socket, roomId, fetchTicket, position, handlers, wait }) {
    this.#socket = socket;
    this.#roomId = roomId;
    this.#fetchTicket = fetchTicket;
    this.#position = position;
    this.#handlers = handlers;
    this.#wait = wait;
    socket.on("connect", () => this.join());
    socket.on("disconnect", (reason) => this.#lost(reason));
    socket.on("connect_error", () => this.#lost("connect_error"));
    socket.onAny((event, data) => {
      if (this.#stopped) return;
      // The gateway paused and the user lost the seat. Ask for a new one.
      if (event === Event.JOIN_REFUSED) this.#refused(data, ++this.#round);
      else handlers.onEvent(event, data);
    });
    if (socket.connected) this.join();
  }

  /** Join, or join again from the reader's position. The result of an earlier join in flight is ignored. */
  async join() {
    const round = ++this.#round;
    const outdated = () => this.#stopped || round !== this.#round || !this.#socket.connected;
    if (outdated()) return;
    this.#handlers.onStatus("joining");
    let answer = await this.#ask();
    if (!outdated() && !answer.ok && SPENT_TICKET.has(answer.code)) answer = await this.#ask();
    if (outdated()) return;
    if (answer.ok) {
      this.#failures = 0;
      this.#handlers.onStatus("joined");
      this.#handlers.onJoined(answer);
      return;
    }
    await this.#refused(answer, round);
  }

  /**
   * A join of this round was refused, or the user was evicted: wait and join again, or give up.
   *
   * @param {Page.Problem} answer
   * @param {number} round
   */
  async #refused(answer, round) {
    const action = SPENT_TICKET.has(answer.code) ? Action.RETRY : actionOf(answer.code, answer.retry);
    if (action === Action.RETRY || action === Action.RECONNECT) {
      this.#handlers.onStatus("waiting", answer);
      await this.#wait(backoff(++this.#failures));
      if (this.#stopped || round !== this.#round || !this.#socket.connected) return;
      if (action === Action.RECONNECT) this.reopen();
      else await this.join();
      return;
    }
    this.stop();
    this.#handlers.onRefused(answer);
  }

  /** Close the socket and open it again at once. The page then joins from its position. */
  reopen() {
    if (this.#stopped) return;
    this.#round += 1;
    this.#socket.disconnect().connect();
  }

  /** Tell the room that the user is typing. Best effort. */
  typing() {
    if (this.#socket.connected) this.#socket.volatile.emit(Event.TYPING, { room: this.#roomId });
  }

  /** Leave for good. */
  stop() {
    this.#stopped = true;
    this.#socket.disconnect();
  }

  /**
   * Try once to join.
   *
   * @returns {Promise<Wire.Ack>}
   */
  async #ask() {
    /** @type {{room: string, ticket?: string, position?: Wire.Position}} */
    const request = { room: this.#roomId };
    try {
      request.ticket = await this.#fetchTicket();
    } catch (error) {
      const { code, message, retry } = /** @type {ApiProblem} */ (error);
      // rooms-api may be down. The gateway admits a user without a ticket who gave the password before, or needs none.
      if (!["network_failed", "unavailable"].includes(code)) return { ok: false, code, message, retry };
    }
    const position = this.#position();
    if (position !== null) request.position = position;
    try {
      return await this.#socket.timeout(ACK_TIMEOUT_MS).emitWithAck(Event.JOIN, request);
    } catch {
      return { ok: false, code: "unavailable", message: "", retry: true };
    }
  }

  /** @param {string} reason */
  async #lost(reason) {
    if (this.#stopped) return;
    const round = ++this.#round;
    this.#handlers.onStatus("lost");
    // In these two cases the Socket.IO client does not reconnect by itself.
    if (reason !== "io server disconnect" && (reason !== "connect_error" || this.#socket.active)) return;
    await this.#wait(backoff(++this.#failures));
    if (!this.#stopped && round === this.#round) this.#socket.connect();
  }
}
