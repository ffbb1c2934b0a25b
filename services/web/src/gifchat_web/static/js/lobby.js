/** The list of rooms that a page shows, updated by the lobby's events. No I/O and no DOM. */

import { Event } from "./protocol.js";
import { foldTitle } from "./text_policy.js";

export class Lobby {
  /** @type {Wire.Room[]} */
  rooms = [];
  /** @type {string | null} */
  nextCursor = null;
  query = "";
  sort = "newest";
  /** @type {[event: string, data: any][] | null} */
  #missed = null;

  /** Start to read a first page. It may or may not contain the events that arrive meanwhile, so remember them. */
  loading() {
    this.#missed ??= [];
  }

  /** Reading the first page failed. */
  loadingFailed() {
    this.#missed = null;
  }

  /**
   * Show another first page, and apply the events that arrived while it was read.
   *
   * @param {Wire.RoomPage} page
   */
  replace(page, { query = this.query, sort = this.sort } = {}) {
    this.rooms = [...page.items];
    this.nextCursor = page.next_cursor;
    this.query = query;
    this.sort = sort;
    const missed = this.#missed ?? [];
    this.#missed = null;
    for (const [event, data] of missed) this.apply(event, data);
  }

  /**
   * Show another page. A room that an event added meanwhile is not shown twice.
   *
   * @param {Wire.RoomPage} page
   */
  append(page) {
    const known = new Set(this.rooms.map((room) => room._id));
    this.rooms.push(...page.items.filter((room) => !known.has(room._id)));
    this.nextCursor = page.next_cursor;
  }

  /**
   * Apply an event. Returns whether the list has changed.
   *
   * @param {string} event
   * @param {any} data
   */
  apply(event, data) {
    this.#missed?.push([event, data]);
    switch (event) {
      case Event.NEW_ROOM:
        return this.#add(data);
      case Event.REMOVE_ROOM:
        return this.#remove(data);
      case Event.ROOM_CHANGED:
        return this.#update(data._id, data);
      case Event.OCCUPANCY: {
        const changes = Object.entries(/** @type {Record<string, number>} */ (data)).map(([roomId, members]) =>
          this.#update(roomId, { members }),
        );
        return changes.includes(true);
      }
      default:
        return false;
    }
  }

  /** @param {Wire.Room} room */
  #add(room) {
    if (this.rooms.some(({ _id }) => _id === room._id)) return false;
    if (!foldTitle(room.title).includes(foldTitle(this.query))) return false;
    if (this.sort === "newest") this.rooms.unshift(room);
    else if (this.nextCursor === null) this.rooms.push(room);
    else return false;
    return true;
  }

  /** @param {string} roomId */
  #remove(roomId) {
    const before = this.rooms.length;
    this.rooms = this.rooms.filter(({ _id }) => _id !== roomId);
    return this.rooms.length !== before;
  }

  /**
   * @param {string} roomId
   * @param {Partial<Wire.Room>} changes
   */
  #update(roomId, changes) {
    const at = this.rooms.findIndex(({ _id }) => _id === roomId);
    const room = this.rooms[at];
    if (room === undefined) return false;
    this.rooms[at] = { ...room, ...changes };
    return true;
  }
}
