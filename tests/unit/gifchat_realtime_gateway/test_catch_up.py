"""A joining client receives either all that it missed or the newest page, with few reads of the log."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gifchat_contracts import limits
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.recovery import Recovered
from gifchat_realtime_gateway.ports import HistoryUnavailableError
from gifchat_realtime_gateway.use_cases.catch_up import CatchUp
from gifchat_realtime_gateway.use_cases.join_room import Joined
from gifchat_testkit.fakes.rooms_api import StoredRoom
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode
from gifchat_testkit.virtual_time import settle

ROOM = RoomId("a" * 24)
ANNE, BOB, CARL, OWNER = (Identity(UserId(digit * 24), f"#{digit * 6}") for digit in "1234")


@pytest.fixture
async def node(cluster: FakeCluster) -> AsyncIterator[FakeNode]:
    async with cluster.node("n1") as node:
        yield node


@pytest.fixture
async def stored(cluster: FakeCluster) -> StoredRoom:
    return cluster.api.create(ROOM, max_members=3, owner=OWNER)


def say(cluster: FakeCluster, stored: StoredRoom, count: int, *, published: bool = True) -> None:
    for _ in range(count):
        frame = stored.say(f"message {len(stored.log) + 1}", OWNER)
        if published:
            cluster.publish(frame, to=ROOM)


def seqs(joined: Joined) -> list[int]:
    return [frame.seq for frame in joined.recent]


async def test_a_new_client_gets_the_newest_page(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    say(cluster, stored, 80)
    _, joined = await node.enter(ANNE, ROOM)
    assert (joined.recovered, joined.position) == (False, Position(stored.epoch, 80))
    assert seqs(joined) == list(range(31, 81))


async def test_a_returning_client_gets_what_it_missed_from_the_ring(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    await node.enter(BOB, ROOM)
    say(cluster, stored, 200)
    await settle()
    cluster.api.calls.clear()
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, 20))
    assert (joined.recovered, joined.position.seq) == (True, 200)
    assert seqs(joined) == list(range(21, 201))
    assert cluster.api.calls == {}


async def test_a_client_that_missed_nothing_gets_no_events(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, 3)
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, 3))
    assert (joined.recovered, joined.recent) == (True, [])


@pytest.mark.parametrize("seen", [0, 1, 20, 29])
async def test_events_older_than_the_ring_are_read_from_the_log(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom, seen: int
) -> None:
    say(cluster, stored, 80)
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, seen))
    assert (joined.recovered, joined.position.seq) == (True, 80)
    assert seqs(joined) == list(range(seen + 1, 81))


async def test_all_clients_of_a_dead_node_share_one_read(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    cluster.api.rooms[ROOM].payload["max"] = 1_000
    say(cluster, stored, 300)

    async def come_back(number: int) -> Joined:
        who = Identity(UserId(f"{number:024x}"), "#123456")
        position = Position(stored.epoch, 100 + number % 7)
        return (await node.enter(who, ROOM, position, address=f"203.0.113.{number % 250}"))[1]

    for number, joined in enumerate(await asyncio.gather(*(come_back(number) for number in range(400)))):
        assert joined.recovered
        assert seqs(joined) == list(range(101 + number % 7, 301))
    assert cluster.api.calls == {"record": 1, "newest": 1, "before": 1}


@pytest.mark.parametrize("seen", [1, 20, 29])
async def test_events_older_than_the_ring_are_read_in_short_pages(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom, seen: int
) -> None:
    cluster.api.page_max_entries = 10
    say(cluster, stored, 80)
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, seen))
    assert (joined.recovered, joined.position.seq) == (True, 80)
    assert seqs(joined) == list(range(seen + 1, 81))


async def test_a_client_that_missed_more_than_a_page_gets_the_newest_page(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, limits.RING_EVENTS + limits.HISTORY_PAGE_MAX + 50)
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, 3))
    assert not joined.recovered
    assert seqs(joined) == list(range(joined.position.seq - 49, joined.position.seq + 1))


async def test_events_older_than_a_full_ring_are_read_from_the_log(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    await node.enter(BOB, ROOM)
    say(cluster, stored, limits.RING_EVENTS + 100)
    await settle()
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, 50))
    assert joined.recovered
    assert seqs(joined) == list(range(51, limits.RING_EVENTS + 101))


@pytest.mark.parametrize(
    ("count", "seen", "deleted"),
    [(60, 5, 8), (limits.RING_EVENTS + 100, 50, 60)],
    ids=["into the ring", "past a full ring"],
)
async def test_a_message_deleted_during_the_read_is_redacted(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom, count: int, seen: int, deleted: int
) -> None:
    say(cluster, stored, 60)
    await node.enter(BOB, ROOM)
    say(cluster, stored, count - 60)
    await settle()
    cluster.api.hold("before", "after")
    coming = asyncio.create_task(node.enter(ANNE, ROOM, Position(stored.epoch, seen)))
    await settle()
    if count > limits.RING_EVENTS:
        # The first read fills the ring.
        cluster.api.release()
        cluster.api.hold("after")
        await settle()
    cluster.publish(stored.delete(deleted), to=ROOM)
    await settle()
    cluster.api.release()
    _, now = await coming
    await asyncio.sleep(30)
    _, later = await node.enter(CARL, ROOM, Position(stored.epoch, seen))
    for joined in (now, later):
        assert joined.recovered
        shown = {frame.seq: frame.body for frame in joined.recent}
        assert b'"deleted":true' in shown[deleted]
        assert b'"chat":' not in shown[deleted]


async def test_a_node_behind_its_client_reads_up_to_the_client(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    bob, _ = await node.enter(BOB, ROOM)
    say(cluster, stored, 5, published=False)
    anne, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, 4))
    assert (joined.recovered, joined.position.seq, seqs(joined)) == (True, 5, [5])
    await settle()
    assert [payload["seq"] for payload in node.received(bob, "chat")] == [1, 2, 3, 4, 5]
    assert node.received(anne, "chat") == []


async def test_a_node_behind_its_client_reads_several_short_pages(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    bob, _ = await node.enter(BOB, ROOM)
    cluster.api.page_max_entries = 2
    say(cluster, stored, 7, published=False)
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, 7))
    assert (joined.recovered, joined.position.seq, seqs(joined)) == (True, 7, [])
    await settle()
    assert [payload["seq"] for payload in node.received(bob, "chat")] == [1, 2, 3, 4, 5, 6, 7]


async def test_all_clients_ahead_of_a_node_share_one_read(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    stored.payload["max"] = 1_000
    await node.enter(BOB, ROOM)
    say(cluster, stored, 20, published=False)
    cluster.api.calls.clear()

    async def come_back(number: int) -> Joined:
        who = Identity(UserId(f"{number:024x}"), "#123456")
        position = Position(stored.epoch, 10 + number % 7)
        return (await node.enter(who, ROOM, position, address=f"203.0.113.{number % 250}"))[1]

    for number, joined in enumerate(await asyncio.gather(*(come_back(number) for number in range(200)))):
        assert (joined.recovered, seqs(joined)) == (True, list(range(11 + number % 7, 21)))
    assert cluster.api.calls["after"] == 1


async def test_a_client_with_a_position_beyond_the_head_gets_the_newest_page(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, 5)
    _, joined = await node.enter(ANNE, ROOM, Position(stored.epoch, 1_000))
    assert (joined.recovered, joined.position.seq) == (False, 5)
    assert seqs(joined) == [1, 2, 3, 4, 5]


async def test_a_client_with_a_position_of_another_epoch_gets_the_newest_page(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, 5)
    _, joined = await node.enter(ANNE, ROOM, Position(Epoch("f" * 16), 3))
    assert (joined.recovered, seqs(joined)) == (False, [1, 2, 3, 4, 5])


async def test_a_client_that_stops_waiting_does_not_cancel_the_shared_read(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, 80)
    room = await node.hosts.host(ROOM)
    catch_up = CatchUp(cluster.api, node.repair)
    cluster.api.hold("before")
    first, second = (asyncio.create_task(catch_up.collect(room, Position(stored.epoch, 5))) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    cluster.api.release()
    found = await second
    assert isinstance(found, Recovered)
    assert [frame.seq for frame in found.frames] == list(range(6, 81))


async def test_a_failed_read_is_not_shared_with_the_next_client(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, 80)
    room = await node.hosts.host(ROOM)
    catch_up = CatchUp(cluster.api, node.repair)
    cluster.set_down({"api"})
    with pytest.raises(HistoryUnavailableError):
        await catch_up.collect(room, Position(stored.epoch, 5))
    cluster.set_down(())
    assert isinstance(await catch_up.collect(room, Position(stored.epoch, 5)), Recovered)
