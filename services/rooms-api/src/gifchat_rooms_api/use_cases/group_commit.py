"""Group commit: drafts that arrive while a room's previous batch is being written form the next batch.

This process writes at most one batch per room at a time, so entries keep their arrival order. A message to a quiet room
is a batch of one and is written at once. In a busy room, drafts arrive while a batch is written. Batches then begin
`BUSY_PERIOD_S` apart, because each one costs a write, a publish and a wake-up of every gateway, whatever its size.
A room without drafts has no task and no queue.

Why seqs have no holes, even if several processes write to one room:

- A batch takes the seqs `head + 1, head + 2, …`, where `head` is the seq of an entry that a majority has.
  `MessageLog.append` stores in order and stops at the first conflict, so it always stores a prefix of the batch.
- The unique key (room, seq) gives each seq to one writer. The other writer reads the head and renumbers the rest.
- If a draft's (user, key) is already stored, the draft resolves to the stored entry. The next draft gets its seq.
- The cached head is only a hint. If it is too low, the next append finds its seq taken. It is never too high: it is
  cached only after a majority has acknowledged it, and dropped whenever an outcome is unknown.

If a room is removed between the check and the write, its log may get entries that nobody can read. `RemoveRoom` removes
them later.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

import structlog

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_contracts import errors, keys
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_rooms_api import metrics
from gifchat_rooms_api.domain.message import Draft, LogEntry, frame_of, slow_mode_wait_s
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import (
    KeyTaken,
    MessageLog,
    OutcomeUnknownError,
    Publisher,
    Rooms,
    SeqTaken,
    StoreUnavailableError,
)
from gifchat_rooms_api.use_cases.read_rooms import existing_room

MAX_BATCH = 256
"""Entries in one write: about 2 MB at most."""
BUSY_PERIOD_S = 0.016
"""One picture of a screen at 60 Hz, and long enough for eight entries at 500 messages a second."""
FULL_ENOUGH = 8
"""This many waiting drafts are written without waiting for more."""
MAX_BACKLOG = 2_048
"""Drafts that may wait per room; further ones are refused."""
MAX_CACHED_HEADS = 20_000
MAX_CONFLICTS = 100
"""Consecutive seqs that a batch may lose to other writers. With each one, another writer has made progress."""


_log = structlog.get_logger(__name__)

Rule = Callable[[Room, datetime], None]
"""Raises `Refused` if the room does not allow the entry now. It is called with the room that was read for the batch."""

_OVERRIDDEN_BY_STORED = frozenset(
    {errors.MUTED, errors.SLOW_MODE, errors.BANNED, errors.KICKED, errors.NOT_A_MEMBER, errors.ADMISSION_UNAVAILABLE}
)
"""A retry of a stored message returns that message, even if a new message would be refused with one of these."""

_Identity = tuple[UserId, str]


@dataclass(frozen=True, slots=True)
class Committed:
    """An entry that a majority has, and the epoch of its seq."""

    epoch: Epoch
    entry: LogEntry
    body: bytes
    """The entry's event, as it is published; see `events.body`."""


@dataclass(slots=True, eq=False)
class _PendingDraft:
    draft: Draft
    rule: Rule
    outcome: asyncio.Future[Committed]

    def settle(self, committed: Committed) -> None:
        if not self.outcome.done():
            self.outcome.set_result(committed)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


@dataclass(slots=True, eq=False)
class _Lane:
    """The drafts that wait in a room. They exist only while its task runs."""

    drafts: deque[_PendingDraft] = field(default_factory=deque)
    full_enough: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, pending: _PendingDraft) -> None:
        self.drafts.append(pending)
        if len(self.drafts) >= FULL_ENOUGH:
            self.full_enough.set()

    def take_batch(self) -> list[_PendingDraft]:
        self.full_enough.clear()
        return [self.drafts.popleft() for _ in range(min(len(self.drafts), MAX_BATCH))]

    async def gather(self, until_s: float) -> None:
        """Wait for more drafts until the loop's time `until_s`, or until there are enough."""
        if len(self.drafts) < FULL_ENOUGH:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until_s):
                    await self.full_enough.wait()


def _identity(draft: Draft) -> _Identity:
    return draft.user_id, draft.key


class GroupCommit:
    """Appends entries to the rooms' logs and publishes them in seq order."""

    def __init__(self, rooms: Rooms, log: MessageLog, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        self._rooms = rooms
        self._log = log
        self._publisher = publisher
        self._clock = clock
        self._lanes: dict[RoomId, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heads: OrderedDict[RoomId, int] = OrderedDict()
        self._closing = False

    async def append(self, room_id: RoomId, draft: Draft, rule: Rule) -> Committed:
        """Append `draft`, unless the same entry is already stored.

        Returns:
            The stored entry, once it is journaled on a majority and queued for publishing. A lost publish is not
            reported.

        Raises:
            Refused: `ROOM_NOT_FOUND`, `SLOW_MODE`, or what `rule` raises. `UNAVAILABLE` if the draft was not stored.
                `OUTCOME_UNKNOWN` if it may be stored; retry with the same draft to find out.
        """
        lane = self._lanes.get(room_id)
        if lane is not None and len(lane.drafts) >= MAX_BACKLOG:
            raise Refused(errors.UNAVAILABLE)
        pending = _PendingDraft(draft, rule, asyncio.get_running_loop().create_future())
        if lane is None:
            lane = self._lanes[room_id] = _Lane()
            task = asyncio.create_task(self._drain_lane(room_id, lane), name=f"group-commit {room_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.put(pending)
        return await pending.outcome

    async def aclose(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for writes in flight, then cancel them. Do not append afterwards.

        Raises:
            TimeoutError: some writes were cancelled; their outcome is unknown.
        """
        self._closing = True
        try:
            async with asyncio.timeout(timeout_s):
                while self._tasks:
                    await asyncio.wait(set(self._tasks))
        finally:
            await cancel_until_done(*self._tasks)

    async def _drain_lane(self, room_id: RoomId, lane: _Lane) -> None:
        now_s = asyncio.get_running_loop().time
        busy = False
        while lane.drafts:
            began_s = now_s()
            batch = lane.take_batch()
            try:
                await self._commit(room_id, batch)
                busy = busy or bool(lane.drafts)
                if busy and not self._closing:
                    await lane.gather(began_s + BUSY_PERIOD_S)
            except Refused as refused:
                for pending in batch:
                    pending.fail(Refused(refused.code))
            except StoreUnavailableError:
                for pending in batch:
                    pending.fail(Refused(errors.UNAVAILABLE))
            except Exception as error:  # the task's boundary: the callers get the error
                self._heads.pop(room_id, None)
                _log.exception("group_commit_failed", room=room_id, entries=len(batch))
                for pending in batch:
                    pending.fail(error)
            except asyncio.CancelledError:
                for pending in (*batch, *lane.drafts):
                    pending.fail(Refused(errors.OUTCOME_UNKNOWN))
                raise
        del self._lanes[room_id]

    async def _commit(self, room_id: RoomId, batch: list[_PendingDraft]) -> None:
        room = await existing_room(self._rooms, room_id)
        now = _whole_milliseconds(self._clock())
        groups = await self._allowed(room, batch, now)
        if not groups:
            return
        with metrics.COMMIT_SECONDS.time():
            outcomes = await self._write(room_id, [group[0].draft for group in groups.values()], now)
        metrics.COMMIT_ENTRIES.observe(len(outcomes))
        entries = [outcome for outcome in outcomes.values() if isinstance(outcome, LogEntry)]
        bodies: dict[int, bytes] = {}
        for entry in sorted(entries, key=lambda entry: entry.seq):
            frame = frame_of(room_id, room.epoch, entry)
            bodies[entry.seq] = frame.body
            self._publisher.publish(keys.room_channel(room_id), frame)
        for identity, group in groups.items():
            for pending in group:
                match outcomes[identity]:
                    case LogEntry() as entry:
                        pending.settle(Committed(room.epoch, entry, bodies[entry.seq]))
                    case code:
                        pending.fail(Refused(code))

    async def _allowed(
        self, room: Room, batch: Sequence[_PendingDraft], now: datetime
    ) -> dict[_Identity, list[_PendingDraft]]:
        """Return the drafts that may be written, grouped by identity, and settle the others.

        A group holds the copies of one entry that was sent several times.
        """
        refused: list[tuple[_PendingDraft, Refused]] = []
        groups: dict[_Identity, list[_PendingDraft]] = {}
        for pending in batch:
            try:
                pending.rule(room, now)
            except Refused as error:
                refused.append((pending, error))
            else:
                groups.setdefault(_identity(pending.draft), []).append(pending)
        for identity, wait_s in (await self._too_early(room, groups, now)).items():
            refused += [(pending, Refused(errors.SLOW_MODE, wait_s)) for pending in groups.pop(identity)]

        maybe_stored = {
            _identity(pending.draft) for pending, refusal in refused if refusal.code in _OVERRIDDEN_BY_STORED
        }
        stored = await self._log.find(room.room_id, maybe_stored) if maybe_stored else {}
        for pending, refusal in refused:
            entry = stored.get(_identity(pending.draft)) if refusal.code in _OVERRIDDEN_BY_STORED else None
            if entry is None:
                pending.fail(refusal)
            else:
                body = frame_of(room.room_id, room.epoch, entry).body
                pending.settle(Committed(room.epoch, entry, body))
        return groups

    async def _too_early(self, room: Room, identities: Collection[_Identity], now: datetime) -> dict[_Identity, float]:
        """Return the drafts that slow mode refuses, with the seconds to wait.

        Slow mode considers messages in the log and earlier messages in this batch. If two processes receive a user's
        messages at the same moment, one extra message may pass. That is acceptable: the room stays readable.
        """
        if not room.slow_mode_s:
            return {}
        writers = {user_id for user_id, _ in identities if user_id != room.owner_id}
        last = (
            dict(await self._log.last_posted(room.room_id, writers, now - timedelta(seconds=room.slow_mode_s)))
            if writers
            else {}
        )
        early: dict[_Identity, float] = {}
        for user_id, key in identities:
            if user_id not in writers:
                continue
            wait_s = slow_mode_wait_s(room.slow_mode_s, last.get(user_id), now)
            if wait_s > 0:
                early[user_id, key] = wait_s
            else:
                last[user_id] = now
        return early

    async def _write(
        self, room_id: RoomId, drafts: list[Draft], now: datetime
    ) -> dict[_Identity, LogEntry | errors.ErrorCode]:
        """Store `drafts` in order.

        Returns:
            For each draft, the stored entry or the code of the failure.
        """
        settled: dict[_Identity, LogEntry] = {}
        failed: dict[_Identity, errors.ErrorCode] = {}
        try:
            await self._store(room_id, drafts, now, settled)
        except StoreUnavailableError:
            failed = {_identity(draft): errors.UNAVAILABLE for draft in drafts}
        except OutcomeUnknownError as error:
            _log.warning("outcome_unknown", room=room_id, entries=len(drafts), error=str(error))
            unanswered = [draft for draft in drafts if _identity(draft) not in settled]
            with suppress(StoreUnavailableError):
                settled |= await self._log.find(room_id, {_identity(draft) for draft in unanswered})
            failed = {_identity(draft): errors.OUTCOME_UNKNOWN for draft in unanswered}
        return failed | settled

    async def _store(
        self, room_id: RoomId, drafts: Sequence[Draft], now: datetime, settled: dict[_Identity, LogEntry]
    ) -> None:
        """Number and append until every draft is in `settled`. After an error, it holds what is known to be stored."""
        head = self._heads.pop(room_id, None)
        if head is None:
            head = await self._log.head(room_id)
        losses_in_a_row = 0
        while drafts:
            entries = [LogEntry(seq, now, draft) for seq, draft in enumerate(drafts, head + 1)]
            appended = await self._log.append(room_id, entries)
            settled |= {_identity(entry.draft): entry for entry in entries[: appended.stored]}
            head += appended.stored
            drafts = drafts[appended.stored :]
            losses_in_a_row = 0 if appended.stored else losses_in_a_row
            match appended.conflict:
                case SeqTaken(head=actual):
                    metrics.COMMIT_CONFLICTS.inc()
                    head = actual
                    losses_in_a_row += 1
                    if losses_in_a_row > MAX_CONFLICTS:
                        raise StoreUnavailableError("other writers took every seq")
                case KeyTaken(entry):
                    settled[_identity(entry.draft)] = entry
                    drafts = drafts[1:]
                case None:
                    pass
                case other:
                    assert_never(other)
        self._heads[room_id] = head
        while len(self._heads) > MAX_CACHED_HEADS:
            self._heads.popitem(last=False)


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
