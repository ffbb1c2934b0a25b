"""A room's log: its entries and the events that readers receive.

An entry is a `Draft` until the group commit assigns it a seq. A stored entry is a `LogEntry` and keeps its seq.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, assert_never

from gifchat_contracts import events, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.ids import Epoch, GifId, RoomId, UserId

ENTRY_BYTES = 400
"""Bytes that an entry takes on a page besides its text: names, ids, the colour and the time."""
GIF_BYTES = 400
"""Bytes that a GIF's file name, addresses and sizes take."""

EntryPayload = events.ChatPayload | events.ChatDeletedPayload | events.NoticePayload


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a text message; mended and checked by `text.message_text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Gif:
    """The GIF that a message shows, with what a page needs before it loads the file."""

    gif_id: GifId
    file: str
    width: int
    height: int
    frames: int | None
    """1 for a still picture; None in messages from before this was stored."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """The content of a message that the owner deleted."""


Content = Text | Gif | Redacted


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a user posted."""

    kind: ClassVar = Kind.CHAT
    event: ClassVar = socket_events.CHAT
    color: str
    content: Content


@dataclass(frozen=True, slots=True)
class Deletion:
    """The owner deleted the message at `target_seq`."""

    kind: ClassVar = Kind.CHAT_DELETED
    event: ClassVar = socket_events.CHAT_DELETED
    target_seq: int
    target_id: str


@dataclass(frozen=True, slots=True)
class SlowModeChange:
    """The owner set how long each user must wait between two messages; 0 ends slow mode."""

    kind: ClassVar = Kind.NOTICE
    event: ClassVar = socket_events.NOTICE
    slow_mode_s: int


Fact = Message | Deletion | SlowModeChange
"""What an entry says, with the kind of its frame and the name of its event on the wire."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that has no seq yet.

    (`user_id`, `key`) identifies the entry within its room: a second draft with the same pair is a retry.
    A message's key is the sender's `client_message_id`; `deletion_key` and `notice_key` cannot collide with one.
    """

    entry_id: str
    """24 hex digits, unique across all rooms."""
    user_id: UserId
    key: str
    fact: Fact


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry with its seq."""

    seq: int
    created_at: datetime
    """UTC, whole milliseconds, because MongoDB stores no more."""
    draft: Draft


def size_of(entry: LogEntry) -> int:
    """Return about how many bytes the entry takes on a page of the history."""
    match entry.draft.fact:
        case Message(content=Text(text)):
            return ENTRY_BYTES + len(text.encode())
        case Message(content=Gif()):
            return ENTRY_BYTES + GIF_BYTES
        case _:
            return ENTRY_BYTES


def fitting(entries: Iterable[LogEntry], max_bytes: int) -> list[LogEntry]:
    """Return as many of the first `entries` as fit into `max_bytes`, but at least one if there is one."""
    found: list[LogEntry] = []
    total = 0
    for entry in entries:
        total += size_of(entry)
        if found and total > max_bytes:
            break
        found.append(entry)
    return found


def slow_mode_wait_s(slow_mode_s: int, last: datetime | None, now: datetime) -> float:
    """Return the seconds until a user who last posted at `last` (None: never) may post again; 0 if that is now."""
    if last is None:
        return 0.0
    return max(0.0, slow_mode_s - (now - last).total_seconds())


def deletion_key(target_seq: int) -> str:
    """Return the key of a message's deletion; a message has at most one."""
    return f"deletion:{target_seq}"


def notice_key(entry_id: str) -> str:
    """Return the key of a notice; no two notices share one."""
    return f"notice:{entry_id}"


def payload_of(room_id: RoomId, epoch: Epoch, entry: LogEntry) -> EntryPayload:
    """Return the event's payload: the same in the reply to a POST, in the history and on a channel."""
    match entry.draft.fact:
        case Message() as message:
            return chat_payload(room_id, epoch, entry, message)
        case Deletion(target_seq, target_id):
            return {
                "room": room_id,
                "epoch": epoch,
                "seq": entry.seq,
                "target_seq": target_seq,
                "target_id": target_id,
                "createdAt": events.timestamp(entry.created_at),
            }
        case SlowModeChange(slow_mode_s):
            return {
                "room": room_id,
                "epoch": epoch,
                "seq": entry.seq,
                "code": "slow_mode_changed",
                "slow_mode_s": slow_mode_s,
                "createdAt": events.timestamp(entry.created_at),
            }
        case other:
            assert_never(other)


def chat_payload(room_id: RoomId, epoch: Epoch, entry: LogEntry, message: Message) -> events.ChatPayload:
    """Return the payload of event `chat`."""
    payload: events.ChatPayload = {
        "_id": entry.draft.entry_id,
        "room": room_id,
        "epoch": epoch,
        "seq": entry.seq,
        "user": message.color,
        "user_id": entry.draft.user_id,
        "createdAt": events.timestamp(entry.created_at),
        "client_message_id": entry.draft.key,
    }
    match message.content:
        case Text(text):
            payload["chat"] = text
        case Gif(gif_id, file, width, height, frames):
            payload["gif"] = events.gif_path(room_id, file)
            payload["gif_info"] = {
                "url": events.gif_url(room_id, file),
                "still_url": events.still_url(room_id, gif_id),
                "width": width,
                "height": height,
            }
            if frames is not None:
                payload["gif_info"]["frames"] = frames
        case Redacted():
            payload["deleted"] = True
        case other:
            assert_never(other)
    return payload


def frame_of(room_id: RoomId, epoch: Epoch, entry: LogEntry) -> Frame:
    """Return the frame that carries the entry on the room's channel."""
    fact = entry.draft.fact
    return Frame(fact.kind, events.body(fact.event, payload_of(room_id, epoch, entry)), epoch, entry.seq)
