import json
from typing import Any

import pytest

from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import NodeId, RoomId, UserId
from gifchat_realtime_gateway.ports import PublishFailedError
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence
from gifchat_realtime_gateway.use_cases.sweep_seats import SweepSeats
from gifchat_testkit.fakes.seats import FakeSeats, SeatStore

ROOM, OTHER = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")
CHANNEL = keys.room_channel(ROOM)


class Published:
    def __init__(self) -> None:
        self.frames: list[tuple[str, Frame]] = []
        self.down = False

    async def publish(self, channel: str, frame: Frame) -> None:
        if self.down:
            raise PublishFailedError("switched off by the test")
        self.frames.append((channel, frame))

    def take(self) -> list[tuple[str, Kind, Any]]:
        frames, self.frames = self.frames, []
        return [(channel, frame.kind, json.loads(frame.body)) for channel, frame in frames]


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def announce(published: Published) -> AnnouncePresence:
    return AnnouncePresence(published)


async def test_a_small_room_gets_each_change_at_once(published: Published, announce: AnnouncePresence) -> None:
    await announce.arrived(ROOM, ANNE, 100)
    await announce.left(ROOM, ANNE, 99)
    assert [frame.subject for _, frame in published.frames] == [ANNE.user_id, ANNE.user_id]
    (joined_on, join, joined), (_, exit_, left) = published.take()
    assert (joined_on, join, exit_) == (CHANNEL, Kind.JOIN, Kind.EXIT)
    assert joined[0] == "join"
    assert joined[1]["chat"] == "#111111님이 입장하셨습니다."
    assert left[0] == "exit"
    assert left[1]["chat"] == "#111111님이 퇴장하셨습니다."


async def test_a_big_room_gets_the_difference_with_the_next_flush(
    published: Published, announce: AnnouncePresence
) -> None:
    await announce.arrived(ROOM, ANNE, 101)
    await announce.left(ROOM, BOB, 101)
    assert published.take() == []
    await announce.flush()
    presence = {"room": ROOM, "members": 101, "joined": {ANNE.user_id: "#111111"}, "left": {BOB.user_id: "#222222"}}
    assert published.take() == [
        (CHANNEL, Kind.PRESENCE, ["presence", presence]),
        (keys.LOBBY_CHANNEL, Kind.OCCUPANCY, ["occupancy", {ROOM: 101}]),
    ]
    await announce.flush()
    assert published.take() == []


async def test_a_departure_does_not_overtake_a_merged_arrival(published: Published, announce: AnnouncePresence) -> None:
    await announce.arrived(ROOM, ANNE, 101)
    await announce.left(ROOM, ANNE, 100)
    await announce.flush()
    assert [kind for _, kind, _ in published.take()] == [Kind.OCCUPANCY]
    await announce.left(ROOM, BOB, 99)
    assert [kind for _, kind, _ in published.take()] == [Kind.EXIT]


async def test_the_lobby_gets_all_changed_rooms_in_one_event(published: Published, announce: AnnouncePresence) -> None:
    for members in range(1, 51):
        await announce.arrived(ROOM, ANNE, members)
    await announce.left(OTHER, BOB, 0)
    published.take()
    await announce.flush()
    assert published.take() == [(keys.LOBBY_CHANNEL, Kind.OCCUPANCY, ["occupancy", {ROOM: 50, OTHER: 0}])]


async def test_unpublished_changes_are_sent_with_the_next_flush(
    published: Published, announce: AnnouncePresence
) -> None:
    published.down = True
    await announce.arrived(ROOM, ANNE, 2_000)
    await announce.flush()
    published.down = False
    await announce.arrived(ROOM, BOB, 2_001)
    await announce.flush()
    assert published.take() == [
        (CHANNEL, Kind.PRESENCE, ["presence", {"room": ROOM, "members": 2_001}]),
        (keys.LOBBY_CHANNEL, Kind.OCCUPANCY, ["occupancy", {ROOM: 2_001}]),
    ]


async def test_changes_of_a_removed_room_are_dropped(published: Published, announce: AnnouncePresence) -> None:
    await announce.arrived(ROOM, ANNE, 2_000)
    announce.forget(ROOM)
    await announce.flush()
    assert published.take() == []


async def test_a_sweep_announces_departures(published: Published, announce: AnnouncePresence) -> None:
    now_s = 100.0
    store = SeatStore(lambda: now_s)
    dead, alive = (FakeSeats(store, NodeId(name), 10, 10, 11) for name in ("dead", "alive"))
    await dead.admit(ROOM, ANNE, max_members=2, ticket_id=None)
    sweep = SweepSeats(alive, announce)
    await sweep.sweep()
    assert published.take() == []
    now_s += 10
    await sweep.sweep()
    await sweep.sweep()
    assert [kind for _, kind, _ in published.take()] == [Kind.EXIT]


async def test_a_sweep_finds_nothing_while_redis_is_down(published: Published, announce: AnnouncePresence) -> None:
    store = SeatStore(lambda: 0.0)
    store.down = True
    await SweepSeats(FakeSeats(store, NodeId("n"), 10, 10, 11), announce).sweep()
    assert published.take() == []
