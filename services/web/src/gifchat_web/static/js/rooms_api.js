/** The public API of rooms-api. Every failure rejects with an `ApiProblem`. */

import { MEMBERSHIP_HEADER, NETWORK_FAILED } from "./protocol.js";
/** @import { ServerClock } from "./server_clock.js" */

const TIMEOUT_MS = 10_000;

export class ApiProblem extends Error {
  /**
   * @param {string} code A code of the contract, or `NETWORK_FAILED`.
   * @param {string} message A sentence for the user, or "".
   * @param {{retry?: boolean, retryAfterS?: number | null}} options
   */
  constructor(code, message = "", { retry = false, retryAfterS = null } = {}) {
    super(message);
    this.code = code;
    this.retry = retry;
    this.retryAfterS = retryAfterS;
  }
}

export class RoomsApi {
  /**
   * The proof of membership in the room of this page, from the ack of `join`.
   *
   * @type {string | null}
   */
  membership = null;
  #language;
  #clock;
  #fetch;

  /**
   * @param {string} language
   * @param {object} options
   * @param {Pick<ServerClock, "syncToDate"> | null} [options.clock] It gets the `Date` of every response.
   * @param {typeof globalThis.fetch} [options.fetch]
   */
  constructor(language, { clock = null, fetch = globalThis.fetch.bind(globalThis) } = {}) {
    this.#language = language;
    this.#clock = clock;
    this.#fetch = fetch;
  }

  /**
   * Read a page of the list of rooms.
   *
   * @param {{query?: string, sort?: string, cursor?: string | null, limit?: number | null}} filter
   * @returns {Promise<Wire.RoomPage>}
   */
  listRooms({ query = "", sort = "newest", cursor = null, limit = null }) {
    const search = new URLSearchParams({ sort });
    if (query) search.set("q", query);
    if (cursor) search.set("cursor", cursor);
    if (limit) search.set("limit", String(limit));
    return this.#ask("GET", `/rooms?${search}`);
  }

  /**
   * Get a ticket for one `join` within a minute. It sends no password, because this session has given it before or the room
   * has none.
   *
   * @param {string} roomId
   * @returns {Promise<string>}
   */
  async ticket(roomId) {
    return (await this.#ask("POST", `/rooms/${roomId}/tickets`, {})).ticket;
  }

  /**
   * Post a message. The same `clientMessageId` again returns the stored message.
   *
   * @param {string} roomId
   * @param {string} clientMessageId
   * @param {Page.Content} content
   * @returns {Promise<Wire.Chat>}
   */
  postMessage(roomId, clientMessageId, content) {
    return this.#ask("POST", `/rooms/${roomId}/messages`, { client_message_id: clientMessageId, ...content });
  }

  /**
   * Read the history before or after a seq.
   *
   * @param {string} roomId
   * @param {{before: number} | {after: number}} range
   * @returns {Promise<Wire.HistoryPage>}
   */
  history(roomId, range) {
    const search = new URLSearchParams(Object.entries(range).map(([side, seq]) => [side, String(seq)]));
    return this.#ask("GET", `/rooms/${roomId}/messages?${search}`);
  }

  /**
   * @param {string} roomId
   * @param {number} seq
   */
  deleteMessage(roomId, seq) {
    return this.#ask("DELETE", `/rooms/${roomId}/messages/${seq}`);
  }

  /**
   * @param {string} roomId
   * @param {Page.RoomChanges} changes
   */
  changeRoom(roomId, changes) {
    return this.#ask("PATCH", `/rooms/${roomId}`, changes);
  }

  /** @param {string} roomId */
  deleteRoom(roomId) {
    return this.#ask("DELETE", `/rooms/${roomId}`);
  }

  /**
   * @param {string} roomId
   * @param {string} userId
   */
  kick(roomId, userId) {
    return this.#ask("POST", `/rooms/${roomId}/kicks`, { user_id: userId });
  }

  /**
   * Ban or mute a user.
   *
   * @param {string} roomId
   * @param {"bans" | "mutes"} what
   * @param {string} userId
   * @param {number | null} seconds Null if permanent.
   */
  sanction(roomId, what, userId, seconds = null) {
    return this.#ask("PUT", `/rooms/${roomId}/${what}/${userId}`, { seconds });
  }

  /**
   * @param {string} roomId
   * @param {"bans" | "mutes"} what
   * @param {string} userId
   */
  liftSanction(roomId, what, userId) {
    return this.#ask("DELETE", `/rooms/${roomId}/${what}/${userId}`);
  }

  /**
   * Upload a file. `onProgress` gets whole percents. `fetch` reports no progress, so this uses XMLHttpRequest.
   *
   * @param {string} roomId
   * @param {File} file
   * @param {(percent: number) => void} onProgress
   * @returns {Promise<{id: string}>}
   */
  uploadGif(roomId, file, onProgress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `/api/v1/rooms/${roomId}/gifs`);
      request.responseType = "json";
      for (const [name, value] of Object.entries(this.#headers())) request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", ({ lengthComputable, loaded, total }) => {
        if (lengthComputable) onProgress(Math.round((100 * loaded) / total));
      });
      request.addEventListener("load", () => {
        if (request.status === 201 && request.response) resolve(request.response);
        else reject(problemOf(request.status, request.response, request.getResponseHeader("Retry-After")));
      });
      for (const event of ["error", "timeout", "abort"]) {
        request.addEventListener(event, () => reject(new ApiProblem(NETWORK_FAILED, "", { retry: true })));
      }
      const form = new FormData();
      form.append("gif", file);
      request.send(form);
    });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async #ask(method, path, body) {
    const headers = this.#headers();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    let answer = null;
    try {
      response = await this.#fetch(`/api/v1${path}`, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      this.#clock?.syncToDate(response.headers.get("Date"));
      const hasJson = response.status !== 204 && response.headers.get("Content-Type")?.includes("json");
      if (hasJson) answer = await response.json();
    } catch {
      throw new ApiProblem(NETWORK_FAILED, "", { retry: true });
    }
    if (response.ok) return answer;
    throw problemOf(response.status, answer, response.headers.get("Retry-After"));
  }

  #headers() {
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json", "Accept-Language": this.#language };
    if (this.membership) headers[MEMBERSHIP_HEADER] = this.membership;
    return headers;
  }
}

/**
 * @param {number} status
 * @param {any} answer
 * @param {string | null} retryAfter
 */
function problemOf(status, answer, retryAfter) {
  const retryAfterS = Number.parseFloat(retryAfter ?? "") || null;
  if (typeof answer?.code === "string") {
    return new ApiProblem(answer.code, answer.detail ?? answer.title, { retry: answer.retry === true, retryAfterS });
  }
  return new ApiProblem(status >= 500 || status === 429 ? "unavailable" : "internal", "", { retry: true, retryAfterS });
}
