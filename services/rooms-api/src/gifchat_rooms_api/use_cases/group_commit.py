"""Group commit: what arrives for a room while its previous batch is being written is the next batch.

Per room at most one batch is under way in this process, so entries keep the order in which they came. Nothing waits
for company: a lone message is a batch of one and leaves at once. A room without work has neither a task nor a queue.

Why the seqs have no holes, with any number of processes that write one room:

- A batch takes the seqs `head + 1, head + 2, …` where `head` is an entry that a majority has. `MessageLog.append`
  stores in order and stops at the first that it cannot store, so what it stored is always the beginning of the batch.
- The unique key (room, seq) lets one of two writers have a seq. The other reads the head and renumbers what is left.
- A draft whose (user, key) is stored already is settled with the stored entry, and the seq that it would have had goes
  to the next in the batch.
- The remembered head is a hint only: too low shows as a taken seq. It is never too high, because it is remembered only
  from what a majority acknowledged, and forgotten whenever an outcome is unknown.

A room that is removed between the check and the write may get entries that nobody can read any more: history and
heads go by the room. Removing them is the business of whoever removes rooms.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

import structlog

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

MAX_BATCH = 256
"""Entries in one write: at most some 2 MB."""
MAX_WAITING = 2_048
"""Drafts that may wait per room; a room that is further behind refuses."""
REMEMBERED_HEADS = 20_000
MAX_CONFLICTS = 100
"""Seqs lost to another writer in a row before a batch gives up. Each of them was another writer's progress."""

_CANCEL_AGAIN_S = 0.1

_log = structlog.get_logger(__name__)

Rule = Callable[[Room, datetime], None]
"""Raises `Refused` if the room's state does not allow the entry now. Called with the room as read for the batch."""

_STORED_ONES_WIN = frozenset(
    {errors.MUTED, errors.SLOW_MODE, errors.BANNED, errors.KICKED, errors.NOT_A_MEMBER, errors.ADMISSION_UNAVAILABLE}
)
"""Refusals that do not hold for the retry of what was stored before."""

_Identity = tuple[UserId, str]


@dataclass(frozen=True, slots=True)
class Committed:
    """An entry that a majority has, with the epoch of its seq."""

    epoch: Epoch
    entry: LogEntry


@dataclass(slots=True, eq=False)
class _Waiting:
    draft: Draft
    rule: Rule
    outcome: asyncio.Future[Committed]

    def settle(self, committed: Committed) -> None:
        if not self.outcome.done():
            self.outcome.set_result(committed)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


def _identity(draft: Draft) -> _Identity:
    return draft.user_id, draft.key


class GroupCommit:
    """Appends to the rooms' logs and publishes what it appended, in the order of the seqs."""

    def __init__(self, rooms: Rooms, log: MessageLog, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        self._rooms = rooms
        self._log = log
        self._publisher = publisher
        self._clock = clock
        self._lanes: dict[RoomId, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heads: OrderedDict[RoomId, int] = OrderedDict()

    async def append(self, room_id: RoomId, draft: Draft, rule: Rule) -> Committed:
        """Append `draft`, or find that the same entry is there already.

        Returns:
            The stored entry, once a majority has it in its journal. It is published after that; a lost publish does
            not show here.

        Raises:
            Refused: `ROOM_NOT_FOUND`; what `rule` raises; `SLOW_MODE`; `UNAVAILABLE`: not stored; `OUTCOME_UNKNOWN`:
                stored or not, and only the same draft again will tell.
        """
        lane = self._lanes.get(room_id)
        if lane is not None and len(lane) >= MAX_WAITING:
            raise Refused(errors.UNAVAILABLE)
        waiting = _Waiting(draft, rule, asyncio.get_running_loop().create_future())
        if lane is None:
            lane = self._lanes[room_id] = deque()
            task = asyncio.create_task(self._work_off(room_id, lane), name=f"group-commit {room_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.append(waiting)
        return await waiting.outcome

    async def aclose(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for the writes in flight, then cancel the rest. Do not append afterwards.

        Raises:
            TimeoutError: some writes were cancelled; their outcome is unknown.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._tasks:
                    await asyncio.wait(set(self._tasks))
        finally:
            while self._tasks:
                # Repeat it: on Python 3.11 `asyncio.wait_for`, which the driver uses, can lose a cancellation.
                for task in self._tasks:
                    task.cancel()
                await asyncio.wait(set(self._tasks), timeout=_CANCEL_AGAIN_S)

    async def _work_off(self, room_id: RoomId, lane: deque[_Waiting]) -> None:
        while lane:
            batch = [lane.popleft() for _ in range(min(len(lane), MAX_BATCH))]
            try:
                await self._commit(room_id, batch)
            except Refused as refused:
                for waiting in batch:
                    waiting.fail(Refused(refused.code))
            except StoreUnavailableError:
                for waiting in batch:
                    waiting.fail(Refused(errors.UNAVAILABLE))
            except Exception as error:  # the task's boundary: those who wait get it as their own
                self._heads.pop(room_id, None)
                _log.exception("group_commit_failed", room=room_id, entries=len(batch))
                for waiting in batch:
                    waiting.fail(error)
            except asyncio.CancelledError:
                for waiting in (*batch, *lane):
                    waiting.fail(Refused(errors.OUTCOME_UNKNOWN))
                raise
        del self._lanes[room_id]

    async def _commit(self, room_id: RoomId, batch: list[_Waiting]) -> None:
        room = await self._rooms.get(room_id)
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        now = _whole_milliseconds(self._clock())
        groups = await self._allowed(room, batch, now)
        if not groups:
            return
        with metrics.COMMIT_SECONDS.time():
            outcomes = await self._write(room_id, [group[0].draft for group in groups.values()], now)
        metrics.COMMIT_ENTRIES.observe(len(outcomes))
        entries = [outcome for outcome in outcomes.values() if isinstance(outcome, LogEntry)]
        for entry in sorted(entries, key=lambda entry: entry.seq):
            self._publisher.publish(keys.room_channel(room_id), frame_of(room_id, room.epoch, entry))
        for identity, group in groups.items():
            for waiting in group:
                match outcomes[identity]:
                    case LogEntry() as entry:
                        waiting.settle(Committed(room.epoch, entry))
                    case code:
                        waiting.fail(Refused(code))

    async def _allowed(self, room: Room, batch: Sequence[_Waiting], now: datetime) -> dict[_Identity, list[_Waiting]]:
        """Those of the batch that may be written, the same entry sent several times as one; the rest is settled."""
        refused: list[tuple[_Waiting, Refused]] = []
        groups: dict[_Identity, list[_Waiting]] = {}
        for waiting in batch:
            try:
                waiting.rule(room, now)
            except Refused as error:
                refused.append((waiting, error))
            else:
                groups.setdefault(_identity(waiting.draft), []).append(waiting)
        for identity, wait_s in (await self._too_early(room, groups, now)).items():
            refused += [(waiting, Refused(errors.SLOW_MODE, wait_s)) for waiting in groups.pop(identity)]

        perhaps_stored = {_identity(waiting.draft) for waiting, why in refused if why.code in _STORED_ONES_WIN}
        stored = await self._log.find(room.room_id, perhaps_stored) if perhaps_stored else {}
        for waiting, why in refused:
            entry = stored.get(_identity(waiting.draft)) if why.code in _STORED_ONES_WIN else None
            if entry is None:
                waiting.fail(why)
            else:
                waiting.settle(Committed(room.epoch, entry))
        return groups

    async def _too_early(self, room: Room, identities: Collection[_Identity], now: datetime) -> dict[_Identity, float]:
        """Slow mode: who wrote too short a time ago, in the log or earlier in this batch, and the seconds to wait.

        Two processes that get a user's messages at the same moment may let one more through: slow mode keeps a room
        readable, it guards nothing.
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
            For each the stored entry, or why there is none or why it is not known.
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
            settled |= await self._look_up(room_id, unanswered)
            failed = {_identity(draft): errors.OUTCOME_UNKNOWN for draft in unanswered}
        return failed | settled

    async def _store(
        self, room_id: RoomId, drafts: Sequence[Draft], now: datetime, settled: dict[_Identity, LogEntry]
    ) -> None:
        """Number and append until every draft is in `settled`, which keeps what was done before an error."""
        head = self._heads.pop(room_id, None)
        if head is None:
            head = await self._log.head(room_id)
        lost_in_a_row = 0
        while drafts:
            entries = [LogEntry(seq, now, draft) for seq, draft in enumerate(drafts, head + 1)]
            appended = await self._log.append(room_id, entries)
            settled |= {_identity(entry.draft): entry for entry in entries[: appended.stored]}
            head += appended.stored
            drafts = drafts[appended.stored :]
            lost_in_a_row = 0 if appended.stored else lost_in_a_row
            match appended.conflict:
                case SeqTaken(head=actual):
                    metrics.COMMIT_CONFLICTS.inc()
                    head = actual
                    lost_in_a_row += 1
                    if lost_in_a_row > MAX_CONFLICTS:
                        raise StoreUnavailableError("another writer was always faster")
                case KeyTaken(entry):
                    settled[_identity(entry.draft)] = entry
                    drafts = drafts[1:]
                case None:
                    pass
                case other:
                    assert_never(other)
        self._remember_head(room_id, head)

    async def _look_up(self, room_id: RoomId, drafts: Sequence[Draft]) -> Mapping[_Identity, LogEntry]:
        """Those of `drafts` that are stored although the write was not answered. The others may still arrive."""
        try:
            return await self._log.find(room_id, {_identity(draft) for draft in drafts})
        except StoreUnavailableError:
            return {}

    def _remember_head(self, room_id: RoomId, head: int) -> None:
        self._heads[room_id] = head
        while len(self._heads) > REMEMBERED_HEADS:
            self._heads.popitem(last=False)


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
