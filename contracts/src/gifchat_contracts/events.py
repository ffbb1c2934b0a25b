"""The payloads of events, built in one place so that rooms-api, gateways and pages agree on the fields.

Names from the original (`_id`, `createdAt`, `newRoom`, `removeRoom`) are kept exactly. Every other field is snake_case.
`body` builds the JSON for a `codec.Frame` and for a Socket.IO packet.
"""

import json
from datetime import UTC, datetime
from typing import Literal, NotRequired, TypedDict

from gifchat_contracts.ids import Epoch, GifId, RoomId, UserId

SYSTEM_USER: Literal["system"] = "system"


class GifPayload(TypedDict):
    """What a page needs to show a GIF before and after loading it."""

    url: str
    still_url: str
    width: int
    height: int
    frames: NotRequired[int]
    """1 for a still picture. Messages from before this field existed do not have it."""


class ChatPayload(TypedDict):
    """Event `chat`: a message. It has either `chat` or `gif`. A deleted message has neither."""

    _id: str
    room: RoomId
    epoch: Epoch
    seq: int
    user: str
    """The sender's colour, `#rrggbb`."""
    user_id: UserId
    chat: NotRequired[str]
    gif: NotRequired[str]
    """Path below `/gif/`, as `gif_path` builds it."""
    gif_info: NotRequired[GifPayload]
    deleted: NotRequired[Literal[True]]
    createdAt: str
    """ISO 8601, UTC, milliseconds, `Z`."""
    client_message_id: str


class ChatDeletedPayload(TypedDict):
    """Event `chatDeleted`: the message at `target_seq` was deleted."""

    room: RoomId
    epoch: Epoch
    seq: int
    target_seq: int
    target_id: str
    createdAt: str


class NoticePayload(TypedDict):
    """Event `notice`: a durable notice from the owner."""

    room: RoomId
    epoch: Epoch
    seq: int
    code: Literal["slow_mode_changed"]
    slow_mode_s: int
    createdAt: str


class RoomPayload(TypedDict):
    """Events `newRoom` and `roomChanged`, and a room in the API. It never holds a password or its hash."""

    _id: RoomId
    title: str
    max: int
    private: bool
    owner: str
    """The owner's colour."""
    owner_id: UserId
    slow_mode_s: int
    createdAt: str
    members: int


class JoinExitPayload(TypedDict):
    """Events `join` and `exit`: the original's two fields, and those from which a page builds its own sentence."""

    user: Literal["system"]
    chat: str
    room: RoomId
    color: str
    user_id: UserId


class TypingPayload(TypedDict):
    """Event `typing`."""

    room: RoomId
    user: str
    user_id: UserId


class PresencePayload(TypedDict):
    """Event `presence`. `joined` and `left` map user ids to colours. Rooms above 1,000 members get only the count."""

    room: RoomId
    members: int
    joined: NotRequired[dict[UserId, str]]
    left: NotRequired[dict[UserId, str]]


class SanctionPayload(TypedDict):
    """Event `sanction`, sent to the sanctioned user.

    `until` is ISO 8601, or None for a permanent sanction. A time in the past ends the sanction.
    """

    room: RoomId
    code: Literal["kicked", "banned", "muted", "unbanned", "unmuted"]
    until: str | None


def timestamp(moment: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds and `Z`, as JavaScript's `Date.toJSON` writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


def gif_path(room_id: RoomId, file_name: str) -> str:
    """Return where a GIF is served in a room, below `/gif/`.

    The address belongs to the room. The same GIF in another room has another address.
    """
    return f"{room_id}/{file_name}"


def gif_url(room_id: RoomId, file_name: str) -> str:
    """Return the URL path of a GIF in a room."""
    return f"/gif/{gif_path(room_id, file_name)}"


def still_url(room_id: RoomId, gif_id: GifId) -> str:
    """Return the URL path of the GIF's first frame in a room."""
    return gif_url(room_id, f"{gif_id}.still.png")


def join_payload(room_id: RoomId, user_id: UserId, color: str) -> JoinExitPayload:
    """Build the payload of `join`. The sentence is the original's, word for word."""
    chat = f"{color}님이 입장하셨습니다."
    return {"user": SYSTEM_USER, "chat": chat, "room": room_id, "color": color, "user_id": user_id}


def exit_payload(room_id: RoomId, user_id: UserId, color: str) -> JoinExitPayload:
    """Build the payload of `exit`. The sentence is the original's, word for word."""
    chat = f"{color}님이 퇴장하셨습니다."
    return {"user": SYSTEM_USER, "chat": chat, "room": room_id, "color": color, "user_id": user_id}


def body(event: str, payload: object) -> bytes:
    """Return the JSON `["event",payload]`: compact, in UTF-8, with non-ASCII characters unescaped.

    Raises:
        ValueError: a number in the payload is not finite, so JSON cannot hold it.
    """
    return json.dumps([event, payload], allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def payload_in(body: bytes) -> bytes:
    """Return the payload's JSON from what `body` returned, without parsing it. No event's name contains a comma."""
    return body[body.index(b",") + 1 : -1]
