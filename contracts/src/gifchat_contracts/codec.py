"""What travels on a Redis channel: a short binary header and the event's ready JSON.

A gateway reads the header alone and passes the body on unparsed: wrapped as `4` `2` `/chat,` + body it is one
Engine.IO message with one Socket.IO EVENT packet.

Layout, big-endian::

    0  1  version (1)
    1  1  kind (see `Kind`)
    2  8  epoch (raw bytes of its 16 hex digits; zero where the kind carries no position)
    10 8  seq (0 where the kind carries no position)
    18 1  length of the subject, in bytes
    19 n  subject: the user id that the event is about, or nothing
    …     body: UTF-8 JSON `["event name", payload]`
"""

import struct
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from gifchat_contracts.ids import Epoch, UserId

VERSION = 1
_HEADER = struct.Struct(">BB8sQB")
_HEADER_BYTES = _HEADER.size
_NO_EPOCH = bytes(8)
_FIRST_EPHEMERAL = 16
_HEAD = 20


class Kind(IntEnum):
    """What an event is to a gateway. Below 16: durable, with a seq; from 16: ephemeral, without."""

    CHAT = 1
    """A message. Body `["chat", …]`."""
    CHAT_DELETED = 2
    """A message was deleted by the room's owner. Body `["chatDeleted", …]`."""
    NOTICE = 3
    """A durable notice of the owner's (slow mode). Body `["notice", …]`."""

    JOIN = 16
    """A member came in; not shown to the subject's own sessions. Body `["join", …]`."""
    EXIT = 17
    """A member is gone. Body `["exit", …]`."""
    TYPING = 18
    """A member types; not shown to the subject's own sessions. Body `["typing", …]`."""
    PRESENCE = 19
    """A difference or a count, in rooms above 100 members. Body `["presence", …]`."""
    HEAD = _HEAD
    """The room's head, for gateways alone: who is behind it has missed something. Carries a position, and no body."""
    CANARY = 21
    """What a gateway publishes to itself, to find out whether it hears. No body."""

    ROOM_CHANGED = 32
    """Title, max, password or slow mode changed: forget what is cached of the room. Body `["roomChanged", …]`."""
    ROOM_REMOVED = 33
    """The room is gone: close it here. Body `["removeRoom", "<id>"]`."""
    SANCTION = 34
    """The subject was kicked, banned or muted, or one of these ended. Body `["sanction", …]`, for the subject alone."""

    NEW_ROOM = 48
    """Lobby. Body `["newRoom", …]`."""
    OCCUPANCY = 49
    """Lobby. Body `["occupancy", {room id: members}]`; gateways merge these to one a second."""

    durable: bool
    """Whether the event has a seq and is kept in the room's log."""
    positioned: bool
    """Whether the header carries epoch and seq."""

    def __init__(self, number: int) -> None:
        self.durable = number < _FIRST_EPHEMERAL
        self.positioned = self.durable or number == _HEAD


class Frame(NamedTuple):
    """One event as it travels on a channel."""

    kind: Kind
    body: bytes
    epoch: Epoch | None = None
    seq: int = 0
    subject: UserId | None = None


_KINDS = {int(kind): (kind, kind.positioned) for kind in Kind}


class BadFrameError(ValueError):
    """The bytes on the channel are no frame of a version that this code reads."""


def encode(frame: Frame) -> bytes:
    """The bytes of `frame`."""
    epoch = bytes.fromhex(frame.epoch) if frame.epoch else _NO_EPOCH
    subject = frame.subject.encode() if frame.subject else b""
    return _HEADER.pack(VERSION, frame.kind, epoch, frame.seq, len(subject)) + subject + frame.body


def decode(data: bytes) -> Frame:
    """Read `data`; the body is sliced, not parsed.

    Raises:
        BadFrameError: too short, another version, an unknown kind, or a kind with a position without one.
    """
    try:
        version, kind_number, epoch, seq, subject_length = _HEADER.unpack_from(data)
    except struct.error as error:
        raise BadFrameError("shorter than a header") from error
    if version != VERSION:
        raise BadFrameError(f"version {version}")
    try:
        kind, positioned = _KINDS[kind_number]
    except KeyError as error:
        raise BadFrameError(f"kind {kind_number}") from error
    if positioned and (seq == 0 or epoch == _NO_EPOCH):
        raise BadFrameError(f"{kind.name} without a position")
    if subject_length == 0:
        return Frame(kind, data[_HEADER_BYTES:], _epoch(epoch), seq)
    body_at = _HEADER_BYTES + subject_length
    if len(data) < body_at:
        raise BadFrameError("shorter than its subject")
    try:
        subject = data[_HEADER_BYTES:body_at].decode("ascii")
    except UnicodeDecodeError as error:
        raise BadFrameError("subject is not ASCII") from error
    return Frame(kind, data[body_at:], _epoch(epoch), seq, UserId(subject))


@lru_cache(maxsize=4_096)
def _epoch(raw: bytes) -> Epoch | None:
    return Epoch(raw.hex()) if raw != _NO_EPOCH else None
