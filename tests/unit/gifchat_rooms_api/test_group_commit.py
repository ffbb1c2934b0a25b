import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gifchat_contracts import errors, keys
from gifchat_contracts.codec import Frame
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.message import Draft, LogEntry, Message, Text
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import Appended
from gifchat_rooms_api.use_cases import group_commit
from gifchat_rooms_api.use_cases.group_commit import Committed, GroupCommit
from gifchat_testkit.fakes.message_log import FakeMessageLog, ReplyLost, Unreachable
from gifchat_testkit.fakes.rooms import room_of

ROOM = RoomId("65f0c0ffee0123456789abcd")
OWNER = UserId("0" * 24)
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)
START = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)

_ids = count(1)


def draft(key: str, user_id: UserId = ANNE) -> Draft:
    return Draft(f"{next(_ids):024x}", user_id, key, Message("#86362d", Text(f"text of {key}")))


def anyone(room: Room, now: datetime) -> None:
    """A rule that allows everything."""


@dataclass
class World:
    """One room, one log, and any number of processes that write to it."""

    room: Room | None = field(default_factory=lambda: room_of(ROOM, owner_id=OWNER))
    now: datetime = START
    published: list[tuple[str, Frame]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.room
        self.log = FakeMessageLog({ROOM: self.room.epoch})

    async def get(self, room_id: RoomId) -> Room | None:
        await asyncio.sleep(0)
        return self.room

    def publish(self, channel: str, frame: Frame) -> None:
        self.published.append((channel, frame))

    def process(self) -> GroupCommit:
        return GroupCommit(self, self.log, self, lambda: self.now)

    @property
    def seqs(self) -> list[int]:
        return [entry.seq for entry in self.log.entries.get(ROOM, [])]

    @property
    def written(self) -> list[str]:
        return [entry.draft.key for entry in self.log.entries.get(ROOM, [])]


async def all_of(commit: GroupCommit, drafts: Iterable[Draft]) -> list[Committed | BaseException]:
    return await asyncio.gather(*(commit.append(ROOM, one, anyone) for one in drafts), return_exceptions=True)


def codes(outcomes: Iterable[object]) -> list[str]:
    return [outcome.code.code if isinstance(outcome, Refused) else "ok" for outcome in outcomes]


async def test_a_single_draft_gets_the_next_seq_and_the_time_of_its_batch() -> None:
    world = World()
    commit = world.process()
    first = await commit.append(ROOM, draft("k1"), anyone)
    second = await commit.append(ROOM, draft("k2"), anyone)
    assert [first.entry.seq, second.entry.seq] == [1, 2]
    assert first.entry.created_at == START.replace(microsecond=678_000)
    assert world.room
    assert first.epoch == world.room.epoch


async def test_drafts_that_arrive_during_a_write_form_the_next_batch_in_order() -> None:
    world = World()
    commit = world.process()
    first = asyncio.create_task(commit.append(ROOM, draft("k0"), anyone))
    while not world.log.batches:
        await asyncio.sleep(0)
    outcomes = await all_of(commit, [draft(f"k{number}") for number in range(1, 51)])
    await first
    assert world.log.batches == [1, 50]
    assert [outcome.entry.seq for outcome in outcomes if isinstance(outcome, Committed)] == list(range(2, 52))
    assert world.written == [f"k{number}" for number in range(51)]


async def test_an_idle_room_has_no_task() -> None:
    world = World()
    commit = world.process()
    await all_of(commit, [draft("k1"), draft("k2")])
    await commit.aclose(10)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_waits_for_writes_in_flight() -> None:
    world = World()
    commit = world.process()
    appending = asyncio.create_task(all_of(commit, [draft(f"k{number}") for number in range(5)]))
    await asyncio.sleep(0)
    await commit.aclose(10)
    assert codes(await appending) == ["ok"] * 5
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_cancels_slow_writes_until_they_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    stalled = asyncio.Event()
    lost: list[asyncio.CancelledError] = []

    async def stall(*_: object) -> None:
        while True:
            stalled.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as cancelled:
                if lost:
                    raise
                lost.append(cancelled)

    monkeypatch.setattr(world.log, "append", stall)
    commit = world.process()
    appending = asyncio.create_task(all_of(commit, [draft("k1")]))
    await stalled.wait()
    appending_later = asyncio.create_task(all_of(commit, [draft("k2")]))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await commit.aclose(0)
        assert codes([*await appending, *await appending_later]) == ["outcome_unknown"] * 2
    assert len(lost) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_two_processes_write_one_room_without_gaps() -> None:
    world = World()
    outcomes = await asyncio.gather(
        all_of(world.process(), [draft(f"a{number}") for number in range(100)]),
        all_of(world.process(), [draft(f"b{number}", BOB) for number in range(100)]),
    )
    assert codes([*outcomes[0], *outcomes[1]]) == ["ok"] * 200
    assert world.seqs == list(range(1, 201))
    assert [key for key in world.written if key[0] == "a"] == [f"a{number}" for number in range(100)]
    assert [key for key in world.written if key[0] == "b"] == [f"b{number}" for number in range(100)]


async def test_a_stale_cached_head_is_reloaded() -> None:
    world = World()
    one, other = world.process(), world.process()
    for number in range(3):
        await one.append(ROOM, draft(f"a{number}"), anyone)
        await all_of(other, [draft(f"b{number}"), draft(f"c{number}")])
    assert world.seqs == list(range(1, 10))


async def test_a_hundred_concurrent_copies_of_a_message_are_one_entry() -> None:
    world = World()
    processes = [world.process(), world.process()]
    outcomes = await asyncio.gather(
        *(processes[number % 2].append(ROOM, draft("same"), anyone) for number in range(100))
    )
    assert world.seqs == [1]
    assert set(outcomes) == {outcomes[0]}


async def test_a_retry_in_the_middle_of_a_batch_leaves_no_gap() -> None:
    world = World()
    await world.process().append(ROOM, draft("k2"), anyone)
    commit = world.process()
    first = asyncio.create_task(commit.append(ROOM, draft("k0"), anyone))
    await asyncio.sleep(0)
    outcomes = await all_of(commit, [draft(f"k{number}") for number in range(1, 5)])
    await first
    assert world.seqs == [1, 2, 3, 4, 5]
    assert world.written == ["k2", "k0", "k1", "k3", "k4"]
    assert [outcome.entry.seq for outcome in outcomes if isinstance(outcome, Committed)] == [3, 1, 4, 5]


async def test_the_same_key_from_another_user_is_another_message() -> None:
    world = World()
    await all_of(world.process(), [draft("k", ANNE), draft("k", BOB)])
    assert world.seqs == [1, 2]


async def test_a_draft_refused_as_unavailable_can_be_retried() -> None:
    world = World()
    commit = world.process()
    for faults in ([Unreachable()], [None, Unreachable()]):
        world.log.faults.extend(faults)
        assert codes(await all_of(commit, [draft("k")])) == ["unavailable"]
    assert codes(await all_of(commit, [draft("k")])) == ["ok"]
    assert world.seqs == [1]


@pytest.mark.parametrize("stored", range(5))
async def test_after_a_lost_reply_only_entries_found_in_the_log_are_acknowledged(stored: int) -> None:
    world = World()
    commit = world.process()
    await commit.append(ROOM, draft("before"), anyone)
    world.log.faults.append(ReplyLost(stored))
    drafts = [draft(f"k{number}") for number in range(4)]
    outcomes = await all_of(commit, drafts)
    assert codes(outcomes) == ["ok"] * stored + ["outcome_unknown"] * (4 - stored)
    assert codes(await all_of(commit, drafts)) == ["ok"] * 4
    assert world.seqs == [1, 2, 3, 4, 5]
    assert {frame.seq for _, frame in world.published} == {1, 2, 3, 4, 5}


async def test_the_outcome_is_unknown_if_the_lookup_also_fails() -> None:
    world = World()
    commit = world.process()
    await commit.append(ROOM, draft("before"), anyone)
    world.log.faults.extend([ReplyLost(1), Unreachable()])
    assert codes(await all_of(commit, [draft("k")])) == ["outcome_unknown"]
    assert codes(await all_of(commit, [draft("k")])) == ["ok"]
    assert world.seqs == [1, 2]


async def test_a_missing_room_refuses_drafts() -> None:
    world = World()
    world.room = None
    assert codes(await all_of(world.process(), [draft("k")])) == ["room_not_found"]
    assert world.seqs == []


async def test_a_refused_draft_does_not_affect_the_rest_of_its_batch() -> None:
    world = World()

    def not_bob(room: Room, now: datetime) -> None:
        raise Refused(errors.BANNED)

    commit = world.process()
    outcomes = await asyncio.gather(
        commit.append(ROOM, draft("k1"), anyone),
        commit.append(ROOM, draft("k2", BOB), not_bob),
        commit.append(ROOM, draft("k3"), anyone),
        return_exceptions=True,
    )
    assert codes(outcomes) == ["ok", "banned", "ok"]
    assert world.seqs == [1, 2]


async def test_a_retry_of_a_stored_message_succeeds_for_a_muted_sender() -> None:
    world = World()

    def muted(room: Room, now: datetime) -> None:
        raise Refused(errors.MUTED)

    commit = world.process()
    stored = await commit.append(ROOM, draft("k1"), anyone)
    assert await commit.append(ROOM, draft("k1"), muted) == stored
    with pytest.raises(Refused) as refused:
        await commit.append(ROOM, draft("k2"), muted)
    assert refused.value.code is errors.MUTED


async def test_slow_mode_limits_every_user_except_the_owner() -> None:
    world = World(room_of(ROOM, owner_id=OWNER, slow_mode_s=10))
    commit = world.process()
    outcomes = await all_of(
        commit, [draft("a1"), draft("b1", BOB), draft("a2"), draft("o1", OWNER), draft("o2", OWNER)]
    )
    assert codes(outcomes) == ["ok", "ok", "slow_mode", "ok", "ok"]
    world.now += timedelta(seconds=4)
    again, first_again = await all_of(world.process(), [draft("a2"), draft("a1")])
    assert isinstance(again, Refused)
    assert again.retry_after_s == pytest.approx(6, abs=0.01)
    assert first_again == outcomes[0]
    world.now += timedelta(seconds=6)
    assert codes(await all_of(commit, [draft("a2"), draft("a2")])) == ["ok", "ok"]


async def test_a_room_with_a_full_backlog_refuses_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_BACKLOG", 3)
    world = World()
    assert codes(await all_of(world.process(), [draft(f"k{number}") for number in range(5)])) == (
        ["ok"] * 3 + ["unavailable"] * 2
    )


async def test_a_cancelled_caller_does_not_stop_the_write() -> None:
    world = World()
    commit = world.process()
    gone = asyncio.create_task(commit.append(ROOM, draft("k1"), anyone))
    stays = asyncio.create_task(commit.append(ROOM, draft("k2"), anyone))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).entry.seq == 2
    assert world.written == ["k1", "k2"]


async def test_an_unexpected_error_reaches_the_callers_and_the_room_recovers() -> None:
    world = World()
    commit = world.process()
    room, world.room = world.room, "no room"  # type: ignore[assignment]
    (outcome,) = await all_of(commit, [draft("k")])
    assert isinstance(outcome, AttributeError)
    world.room = room
    assert codes(await all_of(commit, [draft("k")])) == ["ok"]


async def test_committed_entries_are_published_in_order_on_the_rooms_channel() -> None:
    world = World()
    await all_of(world.process(), [draft(f"k{number}") for number in range(20)])
    assert {channel for channel, _ in world.published} == {keys.room_channel(ROOM)}
    assert [frame.seq for _, frame in world.published] == list(range(1, 21))
    assert [json.loads(frame.body)[1]["seq"] for _, frame in world.published] == list(range(1, 21))


Step = Callable[[GroupCommit], "asyncio.Task[list[Committed | BaseException]]"]
faults = st.sampled_from([None, None, None, Unreachable(), ReplyLost(0), ReplyLost(1), ReplyLost(2), ReplyLost(9)])


@settings(max_examples=150, deadline=None)
@given(
    posts=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([ANNE, BOB]), st.integers(0, 15), st.integers(0, 6))),
    faults=st.lists(faults, max_size=30),
)
async def test_seqs_stay_contiguous_and_acks_true_under_any_faults(
    posts: list[tuple[int, UserId, int, int]], faults: list[Unreachable | ReplyLost | None]
) -> None:
    world = World()
    world.log.faults.extend(faults)
    processes = [world.process() for _ in range(3)]

    async def post(process: int, user_id: UserId, key: int, delay: int) -> tuple[UserId, str, object]:
        for _ in range(delay):
            await asyncio.sleep(0)
        try:
            return user_id, f"k{key}", await processes[process].append(ROOM, draft(f"k{key}", user_id), anyone)
        except Refused as refused:
            return user_id, f"k{key}", refused

    outcomes = await asyncio.gather(*(post(*one) for one in posts))

    log = world.log.entries.get(ROOM, [])
    assert world.seqs == list(range(1, len(log) + 1))
    by_identity: dict[tuple[UserId, str], LogEntry] = {(entry.draft.user_id, entry.draft.key): entry for entry in log}
    assert len(by_identity) == len(log)
    published = {frame.seq for _, frame in world.published}
    for user_id, key, outcome in outcomes:
        if isinstance(outcome, Committed):
            assert by_identity[user_id, key] == outcome.entry
            assert outcome.entry.seq in published
        else:
            assert codes([outcome])[0] in ("unavailable", "outcome_unknown")


class GatedLog:
    """Holds each write of a log until a test lets it go, and counts its entries."""

    def __init__(self, log: FakeMessageLog, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.writing, self.go = asyncio.Event(), asyncio.Event()
        append = log.append

        async def gated(room_id: RoomId, entries: Sequence[LogEntry]) -> Appended:
            self.sizes.append(len(entries))
            self.writing.set()
            await self.go.wait()
            return await append(room_id, entries)

        monkeypatch.setattr(log, "append", gated)


async def test_a_busy_room_waits_for_more_drafts_until_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "BUSY_PERIOD_S", 3_600.0)
    monkeypatch.setattr(group_commit, "FULL_ENOUGH", 3)
    world = World()
    log, commit = GatedLog(world.log, monkeypatch), world.process()

    async def append(key: str) -> asyncio.Task[Committed]:
        task = asyncio.create_task(commit.append(ROOM, draft(key), anyone))
        await asyncio.sleep(0)
        return task

    first = await append("k0")
    await log.writing.wait()
    during_the_write = await append("k1")
    log.go.set()
    await first
    later = await append("k2")
    assert not during_the_write.done()
    async with asyncio.timeout(5):
        committed = [await each for each in (during_the_write, later, await append("k3"))]
    assert [each.entry.seq for each in committed] == [2, 3, 4]
    assert log.sizes == [1, 3]


async def test_a_quiet_room_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "BUSY_PERIOD_S", 3_600.0)
    commit = World().process()
    async with asyncio.timeout(5):
        for number in range(3):
            await commit.append(ROOM, draft(f"k{number}"), anyone)


async def test_a_busy_room_is_written_when_its_period_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "BUSY_PERIOD_S", 0.001)
    world = World()
    log, commit = GatedLog(world.log, monkeypatch), world.process()
    first = asyncio.create_task(commit.append(ROOM, draft("k0"), anyone))
    await log.writing.wait()
    second = asyncio.create_task(commit.append(ROOM, draft("k1"), anyone))
    await asyncio.sleep(0)
    log.go.set()
    async with asyncio.timeout(5):
        assert [(await each).entry.seq for each in (first, second)] == [1, 2]
