"""Identifiers that cross a service boundary."""

import re
import secrets
from collections.abc import Callable
from typing import NewType, TypeGuard, TypeVar

RoomId = NewType("RoomId", str)
"""24 lower-case hex digits: the text form of a MongoDB ObjectId, as in the original's URLs."""

UserId = NewType("UserId", str)
"""24 lower-case hex digits, irreversibly derived from the session id (see `identity.user_id_of`)."""

NodeId = NewType("NodeId", str)
"""One running gateway process. The id is new at each start, so a restarted node never inherits old seats."""

Epoch = NewType("Epoch", str)
"""16 lower-case hex digits that identify one numbering of a room's log."""

Pid = NewType("Pid", str)
"""A session's private id (Socket.IO's `pid`): 20 characters. A client that knows it can restore the session."""

GifId = NewType("GifId", str)
"""64 lower-case hex digits: the SHA-256 of the stored bytes."""

_Id = TypeVar("_Id", bound=str)


def _form(pattern: str, _kind: Callable[[str], _Id]) -> Callable[[object], TypeGuard[_Id]]:
    """Return a function that checks whether a value has the form of this kind of identifier."""
    match = re.compile(rf"{pattern}\Z").match

    def has_form(value: object) -> TypeGuard[_Id]:
        return isinstance(value, str) and match(value) is not None

    return has_form


is_room_id = _form("[0-9a-f]{24}", RoomId)
is_user_id = _form("[0-9a-f]{24}", UserId)
is_epoch = _form("[0-9a-f]{16}", Epoch)
is_gif_id = _form("[0-9a-f]{64}", GifId)
is_pid = _form("[A-Za-z0-9_-]{20}", Pid)
is_client_message_id = _form("[A-Za-z0-9_-]{1,64}", str)
"""Checks an idempotency key. A UUID is a valid one."""


def new_epoch() -> Epoch:
    """Return a random epoch for a new or restarted numbering."""
    return Epoch(secrets.token_hex(8))


def new_pid() -> Pid:
    """Return a private id for a new session in `/chat`: 120 random bits."""
    return Pid(secrets.token_urlsafe(15))


def new_node_id(name: str) -> NodeId:
    """Return a node id that starts with the readable `name`. It contains neither `|` nor `:`."""
    readable = re.sub(r"[^A-Za-z0-9.-]", "-", name)[:32]
    return NodeId(f"{readable}.{secrets.token_hex(4)}")
