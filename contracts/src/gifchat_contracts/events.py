"""The payloads of events, built in one place so that rooms-api, gateways and pages show the same fields.

Names that the original had (`_id`, `createdAt`, `newRoom`, `removeRoom`) are kept to the letter; every other field is
snake_case. `body` makes the ready JSON that travels in a `codec.Frame` and in a Socket.IO packet.
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


class ChatPayload(TypedDict):
    """Event `chat`: a message. Exactly one of `chat` and `gif` is there, neither in a deleted message."""

    _id: str
    room: RoomId
    epoch: Epoch
    seq: int
    user: str
    """The sender's colour, `#rrggbb`."""
    user_id: UserId
    chat: NotRequired[str]
    gif: NotRequired[str]
    """File name; served at `/gif/<file name>`."""
    gif_info: NotRequired[GifPayload]
    deleted: NotRequired[Literal[True]]
    createdAt: str
    """ISO 8601, UTC, milliseconds, `Z`."""
    client_message_id: str


class ChatDeletedPayload(TypedDict):
    """Event `chatDeleted`: the message at `target_seq` is gone."""

    room: RoomId
    epoch: Epoch
    seq: int
    target_seq: int
    target_id: str
    createdAt: str


class NoticePayload(TypedDict):
    """Event `notice`: a durable notice of the owner's."""

    room: RoomId
    epoch: Epoch
    seq: int
    code: Literal["slow_mode_changed"]
    slow_mode_s: int
    createdAt: str


class RoomPayload(TypedDict):
    """Events `newRoom` and `roomChanged`, and a room in the API. Never a password or its hash."""

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
    """Events `join` and `exit`: the original's two fields, and what a page needs to say it in its language."""

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
    """Event `presence`: `joined` and `left` (colours by user id) up to 1,000 members; above, the count alone."""

    room: RoomId
    members: int
    joined: NotRequired[dict[UserId, str]]
    left: NotRequired[dict[UserId, str]]


class SanctionPayload(TypedDict):
    """Event `sanction`, to the user it is about. `until` is ISO 8601 or None (for ever); a past time ends it."""

    room: RoomId
    code: Literal["kicked", "banned", "muted", "unbanned", "unmuted"]
    until: str | None


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as JavaScript's `Date.toJSON` writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def gif_url(file_name: str) -> str:
    """The path that serves a stored GIF."""
    return f"/gif/{file_name}"


def still_url(gif_id: GifId) -> str:
    """The path that serves the first frame of a stored GIF."""
    return f"/gif/{gif_id}.still.png"


def join_payload(room_id: RoomId, user_id: UserId, color: str) -> JoinExitPayload:
    """`#rrggbb님이 입장하셨습니다.`, to the letter of the original."""
    return {
        "user": SYSTEM_USER,
        "chat": f"{color}님이 입장하셨습니다.",
        "room": room_id,
        "color": color,
        "user_id": user_id,
    }


def exit_payload(room_id: RoomId, user_id: UserId, color: str) -> JoinExitPayload:
    """`#rrggbb님이 퇴장하셨습니다.`, to the letter of the original."""
    return {
        "user": SYSTEM_USER,
        "chat": f"{color}님이 퇴장하셨습니다.",
        "room": room_id,
        "color": color,
        "user_id": user_id,
    }


def body(event: str, payload: object) -> bytes:
    """The ready JSON `["event",payload]`, compact, UTF-8, characters unescaped.

    Raises:
        ValueError: a number in the payload is not finite; JSON has no such numbers.
    """
    return json.dumps([event, payload], allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
