/**
 * One room over one socket: joins with a fresh ticket, and joins again, with the reader's position, after every
 * reconnect, refused ticket or restart of a gateway, until it is told to stop.
 *
 * Handlers: onStatus("joining" | "joined" | "lost" | "waiting", problem?), onJoined(ack), onEvent(name, data),
 * onRefused({code, message}): not to be tried again.
 */

import { backoff } from "./backoff.js";
import { Action, Event, SPENT_TICKET, actionOf } from "./protocol.js";

const ACK_TIMEOUT_MS = 10_000;

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

  /** `fetchTicket()` resolves with a ticket; `position()` returns the reader's position or null; `wait(ms)` passes the time. */
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
      // The seat was given away while the gateway was stopped: ask for one like everybody else.
      if (event === Event.JOIN_REFUSED) this.#refused(data, ++this.#round);
      else handlers.onEvent(event, data);
    });
    if (socket.connected) this.join();
  }

  /** Join, or join again from the reader's position; a join that is under way is void. */
  async join() {
    const round = ++this.#round;
    const outdated = () => this.#stopped || round !== this.#round || !this.#socket.connected;
    if (outdated()) return;
    this.#handlers.onStatus("joining");
    let answer = await this.#ask();
    if (!outdated() && SPENT_TICKET.has(answer.code)) answer = await this.#ask();
    if (outdated()) return;
    if (answer.ok) {
      this.#failures = 0;
      this.#handlers.onStatus("joined");
      this.#handlers.onJoined(answer);
      return;
    }
    await this.#refused(answer, round);
  }

  /** The answer of a join in this round, or an eviction: wait and join again, or give up. */
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

  /** The user types. Lost without harm. */
  typing() {
    if (this.#socket.connected) this.#socket.volatile.emit(Event.TYPING, { room: this.#roomId });
  }

  /** Leave for good. */
  stop() {
    this.#stopped = true;
    this.#socket.disconnect();
  }

  /** One attempt: {ok: true, …} or {ok: false, code, message, retry}. */
  async #ask() {
    const request = { room: this.#roomId };
    try {
      request.ticket = await this.#fetchTicket();
    } catch (problem) {
      // Who has given the password before, or needs none, is let in by the gateway without a ticket: rooms-api may be away.
      if (!["network_failed", "unavailable"].includes(problem.code)) {
        return { ok: false, code: problem.code, message: problem.message, retry: problem.retry };
      }
    }
    const position = this.#position();
    if (position !== null) request.position = position;
    try {
      return await this.#socket.timeout(ACK_TIMEOUT_MS).emitWithAck(Event.JOIN, request);
    } catch {
      return { ok: false, code: "unavailable", message: "", retry: true };
    }
  }

  async #lost(reason) {
    if (this.#stopped) return;
    const round = ++this.#round;
    this.#handlers.onStatus("lost");
    // After these two the client does not reconnect by itself.
    if (reason !== "io server disconnect" && (reason !== "connect_error" || this.#socket.active)) return;
    await this.#wait(backoff(++this.#failures));
    if (!this.#stopped && round === this.#round) this.#socket.connect();
  }
}
