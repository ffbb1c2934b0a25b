from datetime import UTC, datetime, timedelta

import pytest

from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_rooms_api.domain.message import Draft, LogEntry, Message, Text
from gifchat_rooms_api.ports import StoreUnavailableError
from gifchat_rooms_api.use_cases.announce_heads import ACTIVE_FOR, OVERLAP, AnnounceHeads
from gifchat_testkit.fakes.message_log import FakeMessageLog, Unreachable

ROOM, OTHER = RoomId("1" * 24), RoomId("2" * 24)
EPOCH = Epoch("0123456789abcdef")
START = datetime(2026, 1, 2, tzinfo=UTC)


class Leader:
    async def acquire(self, ttl_s: float) -> bool:
        return True

    async def release(self) -> None:
        """Do nothing."""


class Published:
    def __init__(self) -> None:
        self.frames: list[tuple[str, Frame]] = []

    def publish(self, channel: str, frame: Frame) -> None:
        self.frames.append((channel, frame))

    def take_heads(self) -> dict[str, int]:
        frames, self.frames = self.frames, []
        assert all(frame.kind is Kind.HEAD and frame.epoch == EPOCH and frame.body == b"" for _, frame in frames)
        return {channel: frame.seq for channel, frame in frames}


@pytest.fixture
def world() -> tuple[FakeMessageLog, Published, AnnounceHeads, list[datetime]]:
    log, published, now = FakeMessageLog({ROOM: EPOCH, OTHER: EPOCH}), Published(), [START]
    return log, published, AnnounceHeads(Leader(), log, published, lambda: now[0]), now


World = tuple[FakeMessageLog, Published, AnnounceHeads, list[datetime]]


async def write(log: FakeMessageLog, room_id: RoomId, seq: int, at: datetime) -> None:
    draft = Draft(f"{seq:024x}", UserId("a" * 24), f"k{seq}", Message("#86362d", Text("hi")))
    await log.append(room_id, [LogEntry(seq, at, draft)])


async def test_heads_of_recently_active_rooms_are_announced_repeatedly(world: World) -> None:
    log, published, announce, now = world
    await write(log, ROOM, 1, START - timedelta(seconds=20))
    await write(log, OTHER, 1, START - timedelta(seconds=40))
    await announce.announce()
    assert published.take_heads() == {keys.room_channel(ROOM): 1}
    await write(log, ROOM, 2, START)
    for _ in range(3):
        now[0] += timedelta(seconds=1)
        await announce.announce()
        assert published.take_heads() == {keys.room_channel(ROOM): 2}


async def test_a_quiet_room_is_no_longer_announced(world: World) -> None:
    log, published, announce, now = world
    await write(log, ROOM, 1, START)
    announced = []
    for _ in range(int((ACTIVE_FOR + OVERLAP).total_seconds()) + 2):
        await announce.announce()
        announced.append(bool(published.take_heads()))
        now[0] += timedelta(seconds=1)
    assert announced == sorted(announced, reverse=True)
    assert not announced[-1]


async def test_a_round_catches_up_on_failed_rounds(world: World) -> None:
    log, published, announce, now = world
    await announce.announce()
    now[0] += timedelta(seconds=1)
    await write(log, ROOM, 1, now[0])
    for _ in range(10):
        now[0] += timedelta(seconds=1)
        log.faults.append(Unreachable())
        with pytest.raises(StoreUnavailableError):
            await announce.announce()
    await announce.announce()
    assert published.take_heads() == {keys.room_channel(ROOM): 1}
