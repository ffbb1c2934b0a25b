"""Identifiers that cross a service boundary."""

import re
import secrets
from typing import NewType, TypeGuard

RoomId = NewType("RoomId", str)
"""24 lower-case hex digits: the text form of a MongoDB ObjectId, as in the original's URLs."""

UserId = NewType("UserId", str)
"""24 lower-case hex digits, derived one way from the session id (see `identity.user_id_of`)."""

NodeId = NewType("NodeId", str)
"""One running gateway process. The id is new at each start, so a restarted node never inherits old seats."""

Epoch = NewType("Epoch", str)
"""16 lower-case hex digits: the identity of a room's numbering."""

Pid = NewType("Pid", str)
"""A session's private id, in Socket.IO's word: 20 characters. A client that knows it can restore the session."""

GifId = NewType("GifId", str)
"""64 lower-case hex digits: the SHA-256 of the stored bytes."""

_HEX_24 = re.compile(r"[0-9a-f]{24}\Z")
_EPOCH = re.compile(r"[0-9a-f]{16}\Z")
_GIF = re.compile(r"[0-9a-f]{64}\Z")
_PID = re.compile(r"[A-Za-z0-9_-]{20}\Z")
_CLIENT_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def is_room_id(value: object) -> bool:
    """Whether `value` has the form of a room id."""
    return isinstance(value, str) and _HEX_24.match(value) is not None


def is_user_id(value: object) -> bool:
    """Whether `value` has the form of a user id."""
    return isinstance(value, str) and _HEX_24.match(value) is not None


def is_epoch(value: object) -> bool:
    """Whether `value` has the form of an epoch."""
    return isinstance(value, str) and _EPOCH.match(value) is not None


def is_gif_id(value: object) -> bool:
    """Whether `value` has the form of a GIF id."""
    return isinstance(value, str) and _GIF.match(value) is not None


def is_client_message_id(value: object) -> bool:
    """Whether `value` is an idempotency key: 1–64 letters, digits, `-` or `_` (a UUID fits)."""
    return isinstance(value, str) and _CLIENT_MESSAGE_ID.match(value) is not None


def new_epoch() -> Epoch:
    """Return a random epoch for a new or restarted numbering."""
    return Epoch(secrets.token_hex(8))


def new_pid() -> Pid:
    """Return a private id for a new session in `/chat`: 120 random bits."""
    return Pid(secrets.token_urlsafe(15))


def is_pid(value: object) -> TypeGuard[Pid]:
    """Whether `value` has the form of a private id."""
    return isinstance(value, str) and _PID.match(value) is not None


def new_node_id(name: str) -> NodeId:
    """Return a node id that starts with the readable `name`. It contains neither `|` nor `:`."""
    readable = re.sub(r"[^A-Za-z0-9.-]", "-", name)[:32]
    return NodeId(f"{readable}.{secrets.token_hex(4)}")
