"""The format of events on Redis channels: a short binary header, then the event as JSON.

A gateway reads only the header and forwards the body unparsed. With the prefix `42/chat,`, the body is one
Engine.IO message with one Socket.IO EVENT packet.

Layout, big-endian::

    0  1  version (1)
    1  1  kind (see `Kind`)
    2  8  epoch (raw bytes of its 16 hex digits; zero if the kind carries no position)
    10 8  seq (0 if the kind carries no position)
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
    """Tells a gateway how to treat an event. Kinds below 16 are durable and have a seq. The others are ephemeral."""

    CHAT = 1
    """A message. Body `["chat", …]`."""
    CHAT_DELETED = 2
    """The room's owner deleted a message. Body `["chatDeleted", …]`."""
    NOTICE = 3
    """A durable notice from the owner (slow mode). Body `["notice", …]`."""

    JOIN = 16
    """A member joined. The subject's own sessions do not get it. Body `["join", …]`."""
    EXIT = 17
    """A member left. Body `["exit", …]`."""
    TYPING = 18
    """A member is typing. The subject's own sessions do not get it. Body `["typing", …]`."""
    PRESENCE = 19
    """In rooms with more than 100 members: who joined and left, or only the count. Body `["presence", …]`."""
    HEAD = _HEAD
    """The room's head, for gateways only: a gateway behind it has missed an event. It has a position and no body."""
    CANARY = 21
    """A gateway publishes this to itself, to check that its subscriptions work. No body."""

    ROOM_CHANGED = 32
    """Title, max, password or slow mode changed. Gateways drop their cached record. Body `["roomChanged", …]`."""
    ROOM_REMOVED = 33
    """The room was removed, and gateways close it. Body `["removeRoom", "<id>"]`."""
    SANCTION = 34
    """A sanction of the subject began or ended. Only the subject gets it. Body `["sanction", …]`."""

    NEW_ROOM = 48
    """Lobby. Body `["newRoom", …]`."""
    OCCUPANCY = 49
    """Lobby. Body `["occupancy", {room id: members}]`. Gateways merge these into one per second."""

    SESSION_REVOKED = 64
    """The subject's session was signed out, and gateways close its connections. No body."""

    durable: bool
    """Whether the event has a seq and is kept in the room's log."""
    positioned: bool
    """Whether the header carries epoch and seq."""

    def __init__(self, number: int) -> None:
        self.durable = number < _FIRST_EPHEMERAL
        self.positioned = self.durable or number == _HEAD


class Frame(NamedTuple):
    """One event on a channel."""

    kind: Kind
    body: bytes
    epoch: Epoch | None = None
    seq: int = 0
    subject: UserId | None = None


_KINDS = {int(kind): (kind, kind.positioned) for kind in Kind}


class BadFrameError(ValueError):
    """Undecodable frame: the bytes are malformed, or in a version that this code does not know."""


def encode(frame: Frame) -> bytes:
    """Return the bytes of `frame`."""
    epoch = bytes.fromhex(frame.epoch) if frame.epoch else _NO_EPOCH
    subject = frame.subject.encode() if frame.subject else b""
    return _HEADER.pack(VERSION, frame.kind, epoch, frame.seq, len(subject)) + subject + frame.body


def decode(data: bytes) -> Frame:
    """Decode a frame. The body is sliced, not parsed.

    Raises:
        BadFrameError: the data is too short, has another version or an unknown kind, or lacks a required position.
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
