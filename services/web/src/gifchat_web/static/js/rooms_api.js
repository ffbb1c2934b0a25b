/** The public API of rooms-api. Everything that fails rejects with an `ApiProblem`. */

import { MEMBERSHIP_HEADER, NETWORK_FAILED } from "./protocol.js";

const TIMEOUT_MS = 10_000;

export class ApiProblem extends Error {
  /** `code` of the contract, or `NETWORK_FAILED`; `message` is a sentence for the user, or "". */
  constructor(code, message = "", { retry = false, retryAfterS = null } = {}) {
    super(message);
    this.code = code;
    this.retry = retry;
    this.retryAfterS = retryAfterS;
  }
}

export class RoomsApi {
  /** The proof of membership in the room of this page, from the ack of `join`. */
  membership = null;
  #language;
  #clock;
  #fetch;

  /** `clock`: a `ServerClock` that gets the `Date` of every response. */
  constructor(language, { clock = null, fetch = globalThis.fetch.bind(globalThis) } = {}) {
    this.#language = language;
    this.#clock = clock;
    this.#fetch = fetch;
  }

  listRooms({ query = "", sort = "newest", cursor = null, limit = null }) {
    const search = new URLSearchParams({ sort });
    if (query) search.set("q", query);
    if (cursor) search.set("cursor", cursor);
    if (limit) search.set("limit", limit);
    return this.#ask("GET", `/rooms?${search}`);
  }

  /** A ticket for one `join`, within a minute. No password: this session gave it before, or the room has none. */
  async ticket(roomId) {
    return (await this.#ask("POST", `/rooms/${roomId}/tickets`, {})).ticket;
  }

  /** `content` is {text} or {gif}. The same `clientMessageId` again returns the stored message. */
  postMessage(roomId, clientMessageId, content) {
    return this.#ask("POST", `/rooms/${roomId}/messages`, { client_message_id: clientMessageId, ...content });
  }

  /** `range` is {before} or {after} a seq. */
  history(roomId, range) {
    return this.#ask("GET", `/rooms/${roomId}/messages?${new URLSearchParams(range)}`);
  }

  deleteMessage(roomId, seq) {
    return this.#ask("DELETE", `/rooms/${roomId}/messages/${seq}`);
  }

  changeRoom(roomId, changes) {
    return this.#ask("PATCH", `/rooms/${roomId}`, changes);
  }

  deleteRoom(roomId) {
    return this.#ask("DELETE", `/rooms/${roomId}`);
  }

  kick(roomId, userId) {
    return this.#ask("POST", `/rooms/${roomId}/kicks`, { user_id: userId });
  }

  /** `what` is "bans" or "mutes"; without `seconds` for ever. */
  sanction(roomId, what, userId, seconds = null) {
    return this.#ask("PUT", `/rooms/${roomId}/${what}/${userId}`, { seconds });
  }

  liftSanction(roomId, what, userId) {
    return this.#ask("DELETE", `/rooms/${roomId}/${what}/${userId}`);
  }

  /** Upload a file; `onProgress` gets whole percents. XMLHttpRequest, because `fetch` does not tell how far it is. */
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

  async #ask(method, path, body) {
    const headers = this.#headers();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    let answer = null;
    try {
      response = await this.#fetch(`/api/v1${path}`, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      this.#clock?.hearDate(response.headers.get("Date"));
      const hasJson = response.status !== 204 && response.headers.get("Content-Type")?.includes("json");
      if (hasJson) answer = await response.json();
    } catch {
      throw new ApiProblem(NETWORK_FAILED, "", { retry: true });
    }
    if (response.ok) return answer;
    throw problemOf(response.status, answer, response.headers.get("Retry-After"));
  }

  #headers() {
    const headers = { Accept: "application/json", "Accept-Language": this.#language };
    if (this.membership) headers[MEMBERSHIP_HEADER] = this.membership;
    return headers;
  }
}

function problemOf(status, answer, retryAfter) {
  const retryAfterS = Number.parseFloat(retryAfter ?? "") || null;
  if (typeof answer?.code === "string") {
    return new ApiProblem(answer.code, answer.detail ?? answer.title, { retry: answer.retry === true, retryAfterS });
  }
  return new ApiProblem(status >= 500 || status === 429 ? "unavailable" : "internal", "", { retry: true, retryAfterS });
}
