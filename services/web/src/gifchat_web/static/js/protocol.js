/** Names and codes that the services and these pages agree on. A test compares them with contracts/golden/. */

export const LOBBY_NAMESPACE = "/room";
export const CHAT_NAMESPACE = "/chat";
export const MEMBERSHIP_HEADER = "X-Room-Membership";

export const Event = Object.freeze({
  NEW_ROOM: "newRoom",
  REMOVE_ROOM: "removeRoom",
  ROOM_CHANGED: "roomChanged",
  OCCUPANCY: "occupancy",
  JOIN: "join",
  EXIT: "exit",
  LEAVE: "leave",
  CHAT: "chat",
  CHAT_DELETED: "chatDeleted",
  NOTICE: "notice",
  TYPING: "typing",
  PRESENCE: "presence",
  SANCTION: "sanction",
  JOIN_REFUSED: "joinRefused",
  RESYNC: "resync",
  PROBE: "probe",
});

/** Events that have a seq and are kept in the room's log. */
/** @type {Set<string>} */
export const DURABLE_EVENTS = new Set([Event.CHAT, Event.CHAT_DELETED, Event.NOTICE]);

/** What a client should do about an error. */
export const Action = Object.freeze({ FIX: "fix", STOP: "stop", RETRY: "retry", RECONNECT: "reconnect" });

/**
 * The action for every error code of the contract.
 *
 * @type {Readonly<Record<string, string>>}
 */
export const ERROR_ACTIONS = Object.freeze({
  room_not_found: Action.STOP,
  wrong_password: Action.STOP,
  password_required: Action.STOP,
  room_full: Action.RETRY,
  banned: Action.STOP,
  kicked: Action.STOP,
  muted: Action.STOP,
  slow_mode: Action.RETRY,
  not_a_member: Action.RECONNECT,
  not_owner: Action.STOP,
  ticket_invalid: Action.STOP,
  ticket_expired: Action.STOP,
  ticket_used: Action.STOP,
  recovering: Action.RETRY,
  admission_unavailable: Action.RETRY,
  too_many_attempts: Action.RETRY,
  rate_limited: Action.RETRY,
  too_many_connections: Action.RETRY,
  too_many_seats: Action.RETRY,
  too_many_rooms: Action.STOP,
  session_required: Action.STOP,
  session_revoked: Action.STOP,
  origin_refused: Action.STOP,
  internal_only: Action.STOP,
  validation_failed: Action.FIX,
  text_empty: Action.FIX,
  text_too_long: Action.FIX,
  text_too_many_lines: Action.FIX,
  title_too_long: Action.FIX,
  malformed: Action.FIX,
  not_found: Action.STOP,
  method_not_allowed: Action.FIX,
  message_not_found: Action.STOP,
  epoch_changed: Action.FIX,
  gif_not_found: Action.STOP,
  gif_wrong_type: Action.FIX,
  gif_too_large: Action.FIX,
  gif_too_many_pixels: Action.FIX,
  gif_broken: Action.FIX,
  payload_too_large: Action.FIX,
  outcome_unknown: Action.RETRY,
  unavailable: Action.RETRY,
  range_not_satisfiable: Action.FIX,
  node_draining: Action.RECONNECT,
  slow_consumer: Action.RECONNECT,
  internal: Action.RETRY,
});

/** The pages' own code for a missing answer. The same request may succeed later. */
export const NETWORK_FAILED = "network_failed";

/** Codes for a ticket that no longer works. A fresh ticket may work. */
export const SPENT_TICKET = new Set(["ticket_invalid", "ticket_expired", "ticket_used"]);

/**
 * What to do about an error. If the code is unknown, because it is newer than this page, `retry` decides.
 *
 * @param {string} code
 */
export function actionOf(code, retry = false) {
  if (code === NETWORK_FAILED) return Action.RETRY;
  return ERROR_ACTIONS[code] ?? (retry ? Action.RETRY : Action.STOP);
}
