"""Kicks, bans, lost seats and removed rooms end sessions on every node."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from gifchat_contracts import limits
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.room_record import FOREVER
from gifchat_realtime_gateway.domain.session import Session
from gifchat_testkit.fakes.rooms_api import StoredRoom
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode
from gifchat_testkit.virtual_time import settle

ROOM, OTHER_ROOM = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB, CARL = (Identity(UserId(digit * 24), f"#{digit * 6}") for digit in "123")


def sanction(code: str, who: Identity) -> Frame:
    return Frame(Kind.SANCTION, body("sanction", {"room": ROOM, "code": code, "until": None}), subject=who.user_id)


def publish_message(cluster: FakeCluster, stored: StoredRoom, text: str) -> None:
    cluster.publish(stored.say(text, CARL), to=ROOM)


def texts(node: FakeNode, session: Session) -> list[str]:
    return [payload["chat"] for payload in node.received(session, "chat")]


@pytest.fixture
async def stored(cluster: FakeCluster) -> StoredRoom:
    cluster.api.create(OTHER_ROOM)
    return cluster.api.create(ROOM, max_members=3)


@pytest.fixture
async def nodes(cluster: FakeCluster, stored: StoredRoom) -> AsyncIterator[list[FakeNode]]:
    async with cluster.node("n1") as here, cluster.node("n2") as there:
        yield [here, there]


@pytest.mark.parametrize("code", ["kicked", "banned"])
async def test_a_kick_or_ban_evicts_on_all_nodes_and_is_announced_once(
    cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode], code: str
) -> None:
    anne, _ = await nodes[0].enter(ANNE, ROOM)
    tabs = [(node, (await node.enter(BOB, ROOM))[0]) for node in (nodes[0], nodes[0], nodes[1])]
    cluster.publish(sanction(code, BOB), to=ROOM)
    await settle()
    publish_message(cluster, stored, "after")
    await settle()
    for node, tab in tabs:
        assert [payload["code"] for payload in node.received(tab, "sanction")] == [code]
        assert texts(node, tab) == []
        assert tab.rooms == set()
        assert not node.seats.held(ROOM).get(BOB)
    assert set(cluster.seats.members[ROOM]) == {ANNE.user_id}
    assert [payload["user_id"] for payload in nodes[0].received(anne, "exit")] == [BOB.user_id]
    assert texts(nodes[0], anne) == ["after"]
    assert nodes[0].received(anne, "sanction") == []


@pytest.mark.parametrize("code", ["muted", "unmuted", "unbanned"])
async def test_other_sanctions_evict_no_user(
    cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode], code: str
) -> None:
    bob, _ = await nodes[0].enter(BOB, ROOM)
    cluster.publish(sanction(code, BOB), to=ROOM)
    await settle()
    assert [payload["code"] for payload in nodes[0].received(bob, "sanction")] == [code]
    assert bob.rooms == {ROOM}


async def test_a_disconnect_after_a_kick_does_not_free_a_second_seat(
    cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode]
) -> None:
    anne, _ = await nodes[0].enter(ANNE, ROOM)
    bob, _ = await nodes[0].enter(BOB, ROOM)
    cluster.publish(sanction("kicked", BOB), to=ROOM)
    await settle()
    await nodes[0].leave.disconnected(bob)
    await asyncio.sleep(2 * limits.SEAT_GRACE_S)
    assert [payload["user_id"] for payload in nodes[0].received(anne, "exit")] == [BOB.user_id]


async def test_a_kick_evicts_while_redis_is_down(
    cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode]
) -> None:
    await nodes[0].enter(ANNE, ROOM)
    bob, _ = await nodes[0].enter(BOB, ROOM)
    cluster.seats.down = True
    cluster.publish(sanction("kicked", BOB), to=ROOM)
    await settle()
    assert bob.rooms == set()
    cluster.seats.down = False
    await asyncio.sleep(limits.LEASE_RENEW_S + limits.SEAT_GRACE_S + 2)
    assert set(cluster.seats.members[ROOM]) == {ANNE.user_id}


async def test_a_kick_from_one_room_keeps_the_user_in_other_rooms(
    cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode]
) -> None:
    bob, _ = await nodes[0].enter(BOB, ROOM)
    other, _ = await nodes[0].enter(BOB, OTHER_ROOM)
    cluster.publish(sanction("kicked", BOB), to=ROOM)
    await settle()
    assert (bob.rooms, other.rooms) == (set(), {OTHER_ROOM})
    assert dict(nodes[0].seats.held(OTHER_ROOM)) == {BOB: 1}


async def test_a_removed_room_has_no_members(cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode]) -> None:
    places = [(nodes[0], ANNE), (nodes[1], BOB), (nodes[0], CARL)]
    sessions = [(node, (await node.enter(who, ROOM))[0]) for node, who in places]
    cluster.publish(Frame(Kind.ROOM_REMOVED, body("removeRoom", ROOM)), to=ROOM)
    await settle()
    for node, session in sessions:
        assert node.received(session, "removeRoom") == [ROOM]
        assert node.received(session, "exit") == []
        assert session.rooms == set()
    assert not cluster.seats.members[ROOM]


async def test_a_removed_room_is_closed_while_redis_is_down(
    cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode]
) -> None:
    anne, _ = await nodes[0].enter(ANNE, ROOM)
    cluster.seats.down = True
    cluster.publish(Frame(Kind.ROOM_REMOVED, body("removeRoom", ROOM)), to=ROOM)
    await settle()
    assert anne.rooms == set()


async def test_a_user_who_lost_the_seat_is_told_in_their_language(cluster: FakeCluster, stored: StoredRoom) -> None:
    here = cluster.new_node("n1")
    async with cluster.node("n2") as there:
        anne, bob = (await here.enter(ANNE, ROOM))[0], (await here.enter(BOB, ROOM))[0]
        anne.language = "ko"
        # `here` renews its lease only after the lease has ended.
        await asyncio.sleep(limits.LEASE_TTL_S + 2)
        for who in (Identity(UserId(digit * 24), "#777777") for digit in "567"):
            await there.enter(who, ROOM)
        await here.renew.renew()
        refusals: list[Mapping[str, Any]] = [
            refusal for session in (anne, bob) for refusal in here.received(session, "joinRefused")
        ]
        assert [(refusal["room"], refusal["code"], refusal["ok"], refusal["retry"]) for refusal in refusals] == [
            (ROOM, "room_full", False, True)
        ] * 2
        assert {refusal["message"] for refusal in refusals} == {"허용 인원을 초과했습니다.", "The room is full."}
        assert (anne.rooms, bob.rooms) == (set(), set())
        publish_message(cluster, stored, "secret")
        await settle()
        assert texts(here, anne) == []


async def test_a_record_with_a_ban_evicts_only_the_banned_user(
    cluster: FakeCluster, stored: StoredRoom, nodes: list[FakeNode]
) -> None:
    anne, bob = (await nodes[0].enter(ANNE, ROOM))[0], (await nodes[0].enter(BOB, ROOM))[0]
    stored.banned_until[BOB.user_id] = FOREVER
    room = nodes[0].rooms[ROOM]
    room.record_read_at_s = None
    await nodes[0].hosts.record(room)
    assert (anne.rooms, bob.rooms) == ({ROOM}, set())
    assert [payload["code"] for payload in nodes[0].received(bob, "sanction")] == ["banned"]
