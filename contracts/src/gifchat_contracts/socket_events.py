"""Names of the namespaces and events on the sockets, and parsers for what a client sends.

The `parse_*` functions accept any value and raise only `BadClientEventError`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TypeGuard

from gifchat_contracts import limits
from gifchat_contracts.ids import GifId, Pid, RoomId, is_client_message_id, is_gif_id, is_pid, is_room_id
from gifchat_contracts.position import Position

DEMO_NAMESPACE = "/"
LOBBY_NAMESPACE = "/room"
CHAT_NAMESPACE = "/chat"

NEWS = "news"
NEWS_TEXT = "Hello Socket.IO"
NEWS_PERIOD_S = 3.0
REPLY = "reply"

PROBE = "probe"
"""A client in `/chat` or `/room` sends this without data. The ack shows that the connection is alive."""

NEW_ROOM = "newRoom"
REMOVE_ROOM = "removeRoom"
ROOM_CHANGED = "roomChanged"
OCCUPANCY = "occupancy"

JOIN = "join"
EXIT = "exit"
LEAVE = "leave"
CHAT = "chat"
CHAT_DELETED = "chatDeleted"
NOTICE = "notice"
TYPING = "typing"
PRESENCE = "presence"
SANCTION = "sanction"
JOIN_REFUSED = "joinRefused"
"""Sent to a client that joined without an ack and was refused. It carries what the ack would have carried."""
RESYNC = "resync"
"""`{room, position}`: the client discards what it shows of the room and reloads it."""


class BadClientEventError(ValueError):
    """A client event has the wrong shape. `str()` says what is expected."""


@dataclass(frozen=True, slots=True)
class Join:
    """A request to enter a room. The client sends the room id alone, as in the original, or an object."""

    room_id: RoomId
    ticket: str | None = None
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class SendText:
    """`chat` with `text`."""

    room_id: RoomId
    client_message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class SendGif:
    """`chat` with the id of an uploaded GIF."""

    room_id: RoomId
    client_message_id: str
    gif_id: GifId


@dataclass(frozen=True, slots=True)
class Restore:
    """A connecting client asks for its last session."""

    pid: Pid | None
    """Private id of that session; None if the client has none."""
    positions: Mapping[RoomId, Position]
    """The last position that the client saw in each of its rooms."""


def _room_id(value: object) -> RoomId:
    if not is_room_id(value):
        raise BadClientEventError("a room id is 24 lower-case hex digits")
    return value


def _is_token(value: object, max_chars: int) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= max_chars and _is_unicode(value)


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text. JSON can hold half of a surrogate pair, which UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_join(data: object) -> Join:
    """Parse `"<room id>"` or `{room, ticket?, position?}`."""
    match data:
        case str():
            return Join(_room_id(data))
        case {"room": room, **rest}:
            ticket, position = rest.get("ticket"), rest.get("position")
            if ticket is not None and not _is_token(ticket, 1_024):
                raise BadClientEventError("a ticket is a string")
            room_id = _room_id(room)
            try:
                return Join(room_id, ticket, None if position is None else Position.from_json(position))
            except ValueError as error:
                raise BadClientEventError(str(error)) from error
        case _:
            raise BadClientEventError("join takes a room id, or {room, ticket, position}")


def parse_restore(auth: object) -> Restore | None:
    """Parse the `auth` of a CONNECT: `{pid?, positions?: {room: position}, restore?}`.

    Return None if `restore` is false. `auth` may hold other fields too, so invalid values are ignored.
    """
    if not isinstance(auth, dict):
        return Restore(None, {})
    if auth.get("restore") is False:
        return None
    pid, positions = auth.get("pid"), auth.get("positions")
    read: dict[RoomId, Position] = {}
    for room, position in islice(positions.items(), limits.ROOMS_OF_A_SESSION) if isinstance(positions, dict) else ():
        with suppress(ValueError):
            read[_room_id(room)] = Position.from_json(position)
    return Restore(pid if is_pid(pid) else None, read)


def parse_room(data: object) -> RoomId:
    """Parse `"<room id>"` or `{room}`, which `leave` and `typing` take."""
    match data:
        case {"room": room}:
            return _room_id(room)
        case _:
            return _room_id(data)


def parse_chat(data: object) -> SendText | SendGif:
    """Parse `{room, client_message_id, text}` or `{room, client_message_id, gif}`. Only rooms-api checks the text."""
    match data:
        case {"room": room, "client_message_id": key, "text": str(text), **rest} if "gif" not in rest:
            if not is_client_message_id(key):
                raise BadClientEventError("a client_message_id is 1–64 letters, digits, '-' or '_'")
            if not _is_unicode(text):
                raise BadClientEventError("a text must not contain half of a surrogate pair")
            return SendText(_room_id(room), key, text)
        case {"room": room, "client_message_id": key, "gif": gif, **rest} if "text" not in rest:
            if not is_client_message_id(key):
                raise BadClientEventError("a client_message_id is 1–64 letters, digits, '-' or '_'")
            if not is_gif_id(gif):
                raise BadClientEventError("a gif is the id that its upload returned")
            return SendGif(_room_id(room), key, gif)
        case _:
            raise BadClientEventError("chat takes {room, client_message_id} and either text or gif")
