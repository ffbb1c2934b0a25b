"""`gifchat_rooms_api.ports.MessageLog` in memory, with fault injection."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_rooms_api.domain.message import LogEntry, Message, Redacted, size_of
from gifchat_rooms_api.ports import Appended, KeyTaken, OutcomeUnknownError, SeqTaken, StoreUnavailableError


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The next call fails and has no effect."""


@dataclass(frozen=True, slots=True)
class ReplyLost:
    """The next append stores its first `stored` entries, and its reply is lost."""

    stored: int


class FakeMessageLog:
    """A log that several writers may share.

    Every step yields to other tasks, so that concurrent writers of one room do collide.
    """

    def __init__(self, epochs: Mapping[RoomId, Epoch]) -> None:
        """`epochs` has the rooms that exist. `heads` reads it on every call."""
        self._epochs = epochs
        self.entries: dict[RoomId, list[LogEntry]] = {}
        """The log of each room, in write order."""
        self.faults: deque[Unreachable | ReplyLost | None] = deque()
        """The faults of the next calls, one per call. None means that the call works."""
        self.batches: list[int] = []
        """The size of each attempted append."""

    async def head(self, room_id: RoomId) -> int:
        """See the port."""
        await self._step()
        return self._head(room_id)

    async def append(self, room_id: RoomId, entries: Sequence[LogEntry]) -> Appended:
        """See the port."""
        self.batches.append(len(entries))
        fault = await self._step()
        log = self.entries.setdefault(room_id, [])
        for stored, entry in enumerate(entries):
            if isinstance(fault, ReplyLost) and stored == fault.stored:
                break
            if any(entry.seq == other.seq for other in log):
                return Appended(stored, SeqTaken(self._head(room_id)))
            same = [other for other in log if _identity(other) == _identity(entry)]
            if same:
                return Appended(stored, KeyTaken(same[0]))
            log.append(entry)
            await asyncio.sleep(0)
        if isinstance(fault, ReplyLost):
            raise OutcomeUnknownError("the reply was lost")
        return Appended(len(entries), None)

    async def find(
        self, room_id: RoomId, identities: Collection[tuple[UserId, str]]
    ) -> Mapping[tuple[UserId, str], LogEntry]:
        """See the port."""
        await self._step()
        return {_identity(entry): entry for entry in self._log(room_id) if _identity(entry) in identities}

    async def last_posted(
        self, room_id: RoomId, user_ids: Collection[UserId], since: datetime
    ) -> Mapping[UserId, datetime]:
        """See the port."""
        await self._step()
        last: dict[UserId, datetime] = {}
        for entry in self._log(room_id):
            user_id = entry.draft.user_id
            if isinstance(entry.draft.fact, Message) and user_id in user_ids and entry.created_at > since:
                last[user_id] = max(entry.created_at, last.get(user_id, entry.created_at))
        return last

    async def messages_of(self, room_id: RoomId, user_id: UserId, limit: int) -> Sequence[int]:
        """See the port."""
        await self._step()
        found = [
            entry.seq
            for entry in self._sorted(room_id)
            if entry.draft.user_id == user_id
            and isinstance(entry.draft.fact, Message)
            and not isinstance(entry.draft.fact.content, Redacted)
        ]
        return found[::-1][:limit]

    async def redact(self, room_id: RoomId, seq: int) -> LogEntry | None:
        """See the port."""
        await self._step()
        log = self._log(room_id)
        for at, entry in enumerate(log):
            if entry.seq == seq and isinstance(entry.draft.fact, Message):
                redacted = replace(entry.draft.fact, content=Redacted())
                log[at] = replace(entry, draft=replace(entry.draft, fact=redacted))
                return log[at]
        return None

    async def after(self, room_id: RoomId, seq: int, limit: int, max_bytes: int) -> Sequence[LogEntry]:
        """See the port."""
        await self._step()
        return _up_to(max_bytes, [entry for entry in self._sorted(room_id) if entry.seq > seq][:limit])

    async def before(self, room_id: RoomId, seq: int | None, limit: int, max_bytes: int) -> Sequence[LogEntry]:
        """See the port."""
        await self._step()
        found = [entry for entry in self._sorted(room_id) if seq is None or entry.seq < seq][-limit:]
        return _up_to(max_bytes, found[::-1])[::-1]

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """See the port."""
        await self._step()
        return {
            room_id: Position(self._epochs[room_id], self._head(room_id))
            for room_id in room_ids
            if room_id in self._epochs
        }

    async def written_since(self, moment: datetime) -> Collection[RoomId]:
        """See the port."""
        await self._step()
        return {room_id for room_id, log in self.entries.items() if any(entry.created_at >= moment for entry in log)}

    async def remove_room(self, room_id: RoomId) -> None:
        """See the port."""
        await self._step()
        self.entries.pop(room_id, None)

    async def _step(self) -> Unreachable | ReplyLost | None:
        await asyncio.sleep(0)
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, Unreachable):
            raise StoreUnavailableError("switched off by the test")
        return fault

    def _log(self, room_id: RoomId) -> list[LogEntry]:
        return self.entries.get(room_id, [])

    def _sorted(self, room_id: RoomId) -> list[LogEntry]:
        return sorted(self._log(room_id), key=lambda entry: entry.seq)

    def _head(self, room_id: RoomId) -> int:
        return max((entry.seq for entry in self._log(room_id)), default=0)


def _up_to(max_bytes: int, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    total = 0
    for count, entry in enumerate(entries, 1):
        total += size_of(entry)
        if total > max_bytes and count > 1:
            return entries[:count]
    return entries


def _identity(entry: LogEntry) -> tuple[UserId, str]:
    return entry.draft.user_id, entry.draft.key
