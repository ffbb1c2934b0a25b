"""A node opens and closes rooms, and keeps their records fresh."""

import asyncio
from datetime import timedelta

import pytest

from gifchat_contracts import errors, keys, limits
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.room_record import FOREVER
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.domain.unknown_rooms import UNKNOWN_ROOM_TTL_S
from gifchat_realtime_gateway.ports import FeedUnavailableError, HistoryUnavailableError
from gifchat_realtime_gateway.use_cases.host_rooms import LINGER_S, PERIOD_S, RECORD_MAX_AGE_S
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode, now, now_s
from gifchat_testkit.virtual_time import settle

ROOM = RoomId("a" * 24)
CHANNEL = keys.room_channel(ROOM)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")
CHANGED = Frame(Kind.ROOM_CHANGED, body("roomChanged", {}))
REMOVED = Frame(Kind.ROOM_REMOVED, body("removeRoom", ROOM))


def texts(node: FakeNode, session: Session) -> list[str]:
    return [payload["chat"] for payload in node.received(session, "chat")]


def listen(node: FakeNode, room: HostedRoom, who: Identity = ANNE) -> Session:
    """Add a session without a seat to the audience."""
    session = node.session(who)
    room.audience.add(session)
    return session


async def test_concurrent_calls_open_a_room_once(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    stored.say("1", ANNE)
    node = cluster.new_node("n1")
    rooms = await asyncio.gather(*(node.hosts.host(ROOM) for _ in range(50)))
    assert {id(room) for room in rooms} == {id(node.rooms[ROOM])}
    assert cluster.api.calls == {"record": 1, "newest": 1}
    assert await node.hosts.host(ROOM) is rooms[0]
    assert rooms[0].stream.position.seq == 1
    assert CHANNEL in node.feed.subscribed


async def test_cancelling_the_first_caller_does_not_cancel_the_opening(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    cluster.api.hold("newest")
    first, second = (asyncio.create_task(node.hosts.host(ROOM)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    cluster.api.release()
    assert (await second) is node.rooms[ROOM]
    assert cluster.api.calls["newest"] == 1


async def test_frames_published_during_the_opening_arrive_once(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    one = stored.say("1", ANNE)
    node = cluster.new_node("n1")
    cluster.api.hold("newest")
    opening = asyncio.create_task(node.hosts.host(ROOM))
    await settle()
    two, three = stored.say("2", ANNE), stored.say("3", ANNE)
    cluster.publish(two, one, three, to=ROOM)
    await settle()
    cluster.api.release()
    room = await opening
    assert room.stream.position.seq == 3
    assert [frame.seq for frame in room.ring.newest(9)] == [1, 2, 3]


async def test_an_undecodable_frame_does_not_fail_the_opening(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    cluster.api.hold("newest")
    opening = asyncio.create_task(node.hosts.host(ROOM))
    await settle()
    cluster.channels.publish(CHANNEL, b"no frame")
    cluster.publish(Frame(Kind.PRESENCE, b"no presence"), stored.say("1", ANNE), to=ROOM)
    await settle()
    cluster.api.release()
    assert (await opening).stream.position.seq == 1


async def test_a_gap_in_frames_held_during_the_opening_is_repaired(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        cluster.api.hold("newest")
        opening = asyncio.create_task(node.hosts.host(ROOM))
        await settle()
        stored.say("1", ANNE)
        cluster.publish(stored.say("2", ANNE), to=ROOM)
        await settle()
        cluster.api.release()
        room = await opening
        await asyncio.sleep(0.5)
        assert room.stream.position.seq == 2


async def test_a_room_that_does_not_exist_is_refused_and_not_subscribed(cluster: FakeCluster) -> None:
    node = cluster.new_node("n1")
    with pytest.raises(Refused) as refusal:
        await node.hosts.host(ROOM)
    assert refusal.value.code is errors.ROOM_NOT_FOUND
    assert CHANNEL not in node.feed.subscribed
    assert ROOM not in node.rooms


async def test_rooms_api_is_not_asked_again_for_an_unknown_room(cluster: FakeCluster) -> None:
    node = cluster.new_node("n1")
    assert node.hosts.must_open(ROOM)
    for _ in range(100):
        with pytest.raises(Refused) as refusal:
            await node.hosts.host(ROOM)
        assert refusal.value.code is errors.ROOM_NOT_FOUND
        assert not node.hosts.must_open(ROOM)
    assert cluster.api.calls == {"record": 1, "newest": 1}
    await asyncio.sleep(UNKNOWN_ROOM_TTL_S)
    assert node.hosts.must_open(ROOM)
    cluster.api.create(ROOM)
    assert await node.hosts.host(ROOM)
    assert not node.hosts.must_open(ROOM)


async def test_a_new_room_is_known_at_once(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        with pytest.raises(Refused):
            await node.hosts.host(ROOM)
        cluster.api.create(ROOM)
        cluster.tell_lobby(Frame(Kind.NEW_ROOM, body("newRoom", {"_id": ROOM})))
        await settle()
        assert await node.hosts.host(ROOM)


async def test_a_room_that_is_created_while_rooms_api_is_asked_is_not_taken_for_unknown(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        creations = node.unknown.creations
        cluster.tell_lobby(Frame(Kind.NEW_ROOM, body("newRoom", {"_id": ROOM})))
        await settle()
        node.unknown.add(ROOM, creations, now_s())
        cluster.api.create(ROOM)
        assert await node.hosts.host(ROOM)


async def test_a_room_is_not_taken_for_unknown_while_rooms_api_is_down(cluster: FakeCluster) -> None:
    node = cluster.new_node("n1")
    cluster.api.create(ROOM)
    cluster.api.down = True
    with pytest.raises(HistoryUnavailableError):
        await node.hosts.host(ROOM)
    cluster.api.down = False
    assert await node.hosts.host(ROOM)


@pytest.mark.parametrize(("away", "error"), [("api", HistoryUnavailableError), ("channels", FeedUnavailableError)])
async def test_a_failed_opening_can_be_retried(cluster: FakeCluster, away: str, error: type[Exception]) -> None:
    cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    cluster.set_down({away})
    outcomes = await asyncio.gather(*(node.hosts.host(ROOM) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [error] * 3
    assert CHANNEL not in node.feed.subscribed
    cluster.set_down(())
    assert await node.hosts.host(ROOM)


async def test_an_empty_room_is_closed_after_a_while(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        session, _ = await node.enter(ANNE, ROOM)
        await asyncio.sleep(3 * LINGER_S)
        assert ROOM in node.rooms
        await node.leave.leave(session, ROOM)
        await node.hosts.host(ROOM)
        await asyncio.sleep(LINGER_S - PERIOD_S)
        assert CHANNEL in node.feed.subscribed
        await asyncio.sleep(2 * PERIOD_S)
        assert ROOM not in node.rooms
        assert CHANNEL not in node.feed.subscribed


async def test_a_room_requested_while_it_closes_is_opened_again(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    old = await node.hosts.host(ROOM)
    await asyncio.sleep(LINGER_S)
    _, new = await asyncio.gather(node.hosts.tidy(), node.hosts.host(ROOM))
    assert new is node.rooms[ROOM]
    assert CHANNEL in node.feed.subscribed
    session = listen(node, new)
    await node.renew.renew()
    cluster.publish(stored.say("1", BOB), to=ROOM)
    await settle()
    assert texts(node, session) == ["1"]
    assert old is not new


async def test_an_old_record_is_reread(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    room = await node.hosts.host(ROOM)
    stored.access_version = 2
    await asyncio.sleep(RECORD_MAX_AGE_S - 0.1)
    assert (await node.hosts.record(room)).access_version == 1
    await asyncio.sleep(0.1)
    records = await asyncio.gather(*(node.hosts.record(room) for _ in range(20)))
    assert {record.access_version for record in records} == {2}
    assert cluster.api.calls["record"] == 2


@pytest.mark.parametrize("kind", [Kind.ROOM_CHANGED, Kind.SANCTION, Kind.ROOM_REMOVED])
async def test_a_changed_record_is_reread(cluster: FakeCluster, kind: Kind) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    room = await node.hosts.host(ROOM)
    stored.access_version = 2
    cluster.publish(Frame(kind, body("event", {"code": "muted"})), to=ROOM)
    await settle()
    assert (await node.hosts.record(room)).access_version == 2


async def test_a_call_during_a_reread_waits_for_the_new_record(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    room = await node.hosts.host(ROOM)
    stored.banned_until[BOB.user_id] = FOREVER
    cluster.publish(CHANGED, to=ROOM)
    await settle()
    cluster.api.hold("record")
    first = asyncio.create_task(node.hosts.record(room))
    await settle()
    second = asyncio.create_task(node.hosts.record(room))
    await settle()
    assert not second.done()
    cluster.api.release()
    for record in (await first, await second):
        assert record.banned(BOB.user_id, now())
    assert cluster.api.calls["record"] == 2


async def test_a_record_that_changes_during_a_read_is_read_once_more(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    room = await node.hosts.host(ROOM)
    cluster.publish(CHANGED, to=ROOM)
    await settle()
    cluster.api.hold("record")
    asking = asyncio.create_task(node.hosts.record(room))
    await settle()
    stored.access_version = 7
    cluster.publish(CHANGED, to=ROOM)
    await settle()
    cluster.api.release()
    assert (await asking).access_version == 7


async def test_a_failed_read_of_a_record_is_retried(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    room = await node.hosts.host(ROOM)
    stored.access_version = 2
    cluster.publish(CHANGED, to=ROOM)
    await settle()
    cluster.set_down({"api"})
    with pytest.raises(HistoryUnavailableError):
        await node.hosts.record(room)
    cluster.set_down(())
    assert (await node.hosts.record(room)).access_version == 2


async def test_a_ban_takes_effect_although_its_event_was_lost(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        bob, _ = await node.enter(BOB, ROOM)
        stored.banned_until[BOB.user_id] = FOREVER
        await asyncio.sleep(RECORD_MAX_AGE_S + PERIOD_S)
        assert (anne.rooms, bob.rooms) == ({ROOM}, set())
        assert node.received(bob, "sanction") == [{"room": ROOM, "code": "banned", "until": None}]
        assert set(cluster.seats.members[ROOM]) == {ANNE.user_id}
        cluster.publish(stored.say("secret", ANNE), to=ROOM)
        await settle()
        assert texts(node, bob) == []
        assert texts(node, anne) == ["secret"]


async def test_a_lost_kick_takes_effect_but_not_for_a_user_who_rejoined(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        bob, _ = await node.enter(BOB, ROOM)
        stored.kicked_at[BOB.user_id] = now() + timedelta(milliseconds=1)
        await asyncio.sleep(RECORD_MAX_AGE_S + PERIOD_S)
        assert bob.rooms == set()
        assert node.received(bob, "sanction") == [{"room": ROOM, "code": "kicked", "until": None}]
        again, _ = await node.enter(BOB, ROOM)
        await asyncio.sleep(2 * RECORD_MAX_AGE_S)
        assert again.rooms == {ROOM}


async def test_old_records_of_many_rooms_are_read_in_one_request(cluster: FakeCluster) -> None:
    rooms = [RoomId(f"{number:024x}") for number in range(1, 31)]
    stored = [cluster.api.create(room_id) for room_id in rooms]
    async with cluster.node("n1") as node:
        for room_id in rooms:
            await node.enter(ANNE, room_id)
        cluster.api.calls.clear()
        for each in stored:
            each.access_version = 2
        cluster.set_down({"api"})
        await asyncio.sleep(RECORD_MAX_AGE_S + PERIOD_S)
        cluster.set_down(())
        await asyncio.sleep(PERIOD_S)
        assert cluster.api.calls["record"] == 0
        assert 2 <= cluster.api.calls["records"] <= 3, "once in vain"
        assert {node.rooms[room_id].record.access_version for room_id in rooms} == {2}


async def test_a_call_during_a_batch_read_waits_for_the_batch(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    node = cluster.new_node("n1")
    room = await node.hosts.host(ROOM)
    listen(node, room)
    stored.access_version = 2
    await asyncio.sleep(RECORD_MAX_AGE_S)
    cluster.api.hold("records")
    tidying = asyncio.create_task(node.hosts.tidy())
    await settle()
    asking = asyncio.create_task(node.hosts.record(room))
    await settle()
    assert not asking.done()
    cluster.api.release()
    assert (await asking).access_version == 2
    await tidying
    assert cluster.api.calls["record"] == 1, "as the room was opened"


async def test_a_removed_room_is_closed_although_the_event_was_lost(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        del cluster.api.rooms[ROOM]
        await asyncio.sleep(RECORD_MAX_AGE_S + PERIOD_S)
        assert anne.rooms == set()
        assert node.received(anne, "removeRoom") == [ROOM]
        assert not cluster.seats.members[ROOM]
        await asyncio.sleep(LINGER_S + PERIOD_S)
        assert ROOM not in node.rooms


async def test_members_are_told_once_that_their_room_was_removed(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        del cluster.api.rooms[ROOM]
        cluster.publish(REMOVED, to=ROOM)
        await asyncio.sleep(2 * RECORD_MAX_AGE_S)
        assert node.received(anne, "removeRoom") == [ROOM]
        assert anne.rooms == set()
        with pytest.raises(Refused) as refusal:
            await node.enter(ANNE, ROOM)
        assert refusal.value.code is errors.ROOM_NOT_FOUND


async def test_members_stay_and_idle_rooms_close_while_rooms_api_is_down(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM)
    other = RoomId("b" * 24)
    cluster.api.create(other)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        await node.hosts.host(other)
        cluster.set_down({"api"})
        await asyncio.sleep(RECORD_MAX_AGE_S + LINGER_S)
        assert anne.rooms == {ROOM}
        assert set(node.rooms) == {ROOM}


def test_an_empty_room_is_kept_longer_than_the_grace_of_a_seat() -> None:
    assert LINGER_S > limits.SEAT_GRACE_S
