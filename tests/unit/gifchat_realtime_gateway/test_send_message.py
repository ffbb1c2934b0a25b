import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gifchat_contracts import errors, limits
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.socket_events import Join, SendGif, SendText
from gifchat_realtime_gateway.domain.session import TYPING_EVERY_S
from gifchat_realtime_gateway.ports import EncodedMessage
from gifchat_testkit.fakes.rooms_api import StoredRoom
from gifchat_testkit.gateway_nodes import ADDRESS, FakeCluster, FakeNode, now
from gifchat_testkit.virtual_time import settle

ROOM, OTHER_ROOM = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")


@pytest.fixture
async def node(cluster: FakeCluster) -> AsyncIterator[FakeNode]:
    async with cluster.node("n1") as node:
        yield node


@pytest.fixture
async def stored(cluster: FakeCluster) -> StoredRoom:
    return cluster.api.create(ROOM, max_members=1_000)


async def test_a_members_message_is_relayed_and_returned_as_stored(node: FakeNode, stored: StoredRoom) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    encoded = await node.send.send(anne, SendText(ROOM, "m1", "안녕"))
    message = json.loads(encoded)
    assert (message["seq"], message["chat"], message["user_id"]) == (1, "안녕", ANNE.user_id)
    assert message["client_message_id"] == "m1"
    assert await node.send.send(anne, SendText(ROOM, "m1", "안녕")) == encoded
    assert len(stored.log) == 1


async def test_a_user_outside_the_room_cannot_post(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    cluster.api.create(OTHER_ROOM)
    await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, OTHER_ROOM)
    with pytest.raises(Refused) as refusal:
        await node.send.send(bob, SendText(ROOM, "m1", "hello"))
    assert refusal.value.code is errors.NOT_A_MEMBER
    await node.send.typing(bob, ROOM)
    await settle()
    assert stored.log == []
    assert cluster.channels.published == [] or all(b"typing" not in data for _, data in cluster.channels.published)


async def test_a_node_with_uncertain_seats_relays_nothing(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, ROOM)
    cluster.seats.down = True
    await asyncio.sleep(limits.LEASE_TTL_S + 1)
    with pytest.raises(Refused) as refusal:
        await node.send.send(anne, SendText(ROOM, "m1", "hello"))
    assert refusal.value.code is errors.RECOVERING
    await node.send.typing(anne, ROOM)
    cluster.seats.down = False
    await asyncio.sleep(limits.LEASE_RENEW_S + 1)
    assert node.received(bob, "typing") == []
    assert json.loads(await node.send.send(anne, SendText(ROOM, "m1", "hello")))["seq"] == 1


async def test_a_refusal_of_rooms_api_is_passed_on(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    cluster.api.down = True
    with pytest.raises(Refused) as refusal:
        await node.send.send(anne, SendText(ROOM, "m1", "hello"))
    assert refusal.value.code is errors.UNAVAILABLE


async def test_a_refused_address_is_not_relayed_for_a_while(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    cluster.api.create(OTHER_ROOM)
    cluster.api.messages_left[ROOM, ADDRESS] = 1
    guests = [(await node.enter(Identity.of_session(f"guest {number}"), ROOM))[0] for number in range(20)]
    elsewhere = node.session(ANNE, address="203.0.113.9")
    for session, room in ((elsewhere, ROOM), (guests[0], OTHER_ROOM)):
        await node.join.join(session, Join(room, None, None))
    refusals = []
    for guest in guests:
        try:
            await node.send.send(guest, SendText(ROOM, "m1", "hello"))
        except Refused as refusal:
            refusals.append((refusal.code, refusal.retry_after_s))
    assert refusals == [(errors.RATE_LIMITED, 1.0)] * 19
    assert cluster.api.calls["relay"] == 2
    for session, room in ((elsewhere, ROOM), (guests[0], OTHER_ROOM)):
        await node.send.send(session, SendText(room, "m2", "hello"))
    cluster.api.messages_left[ROOM, ADDRESS] = 1
    await asyncio.sleep(1)
    await node.send.send(guests[1], SendText(ROOM, "m2", "hello"))


async def test_a_users_own_refusal_does_not_concern_their_address(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = cluster.api.relay

    async def refuse_anne(message: SendText | SendGif, sender: Identity, address: str) -> EncodedMessage:
        if sender == ANNE:
            raise Refused(errors.RATE_LIMITED, 1.0)
        return await relay(message, sender, address)

    monkeypatch.setattr(cluster.api, "relay", refuse_anne)
    anne, _ = await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, ROOM)
    with pytest.raises(Refused):
        await node.send.send(anne, SendText(ROOM, "m1", "hello"))
    assert json.loads(await node.send.send(bob, SendText(ROOM, "m1", "hello")))["seq"] == 1


async def test_typing_reaches_the_other_members_at_a_limited_rate(node: FakeNode, stored: StoredRoom) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    tab, _ = await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, ROOM)
    for _ in range(30):
        await node.send.typing(anne, ROOM)
        await asyncio.sleep(TYPING_EVERY_S / 20)
    expected = {"room": ROOM, "user": ANNE.color, "user_id": ANNE.user_id}
    assert node.received(bob, "typing") == [expected] * 2
    assert node.received(anne, "typing") == node.received(tab, "typing") == []
    await asyncio.sleep(TYPING_EVERY_S)
    await node.send.typing(anne, ROOM)
    await settle()
    assert len(node.received(bob, "typing")) == 3


async def test_a_muted_members_typing_is_not_shown(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, ROOM)
    stored.muted_until[ANNE.user_id] = now() + timedelta(minutes=10)
    cluster.publish(Frame(Kind.SANCTION, body("sanction", {"code": "muted"}), subject=ANNE.user_id), to=ROOM)
    await settle()
    await node.send.typing(anne, ROOM)
    await node.send.typing(bob, ROOM)
    await settle()
    assert node.received(bob, "typing") == []
    assert len(node.received(anne, "typing")) == 1
    await asyncio.sleep(600)
    await node.send.typing(anne, ROOM)
    await settle()
    assert len(node.received(bob, "typing")) == 1


async def test_typing_is_dropped_while_the_sanctions_are_unknown(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, ROOM)
    cluster.publish(Frame(Kind.SANCTION, body("sanction", {"code": "muted"}), subject=ANNE.user_id), to=ROOM)
    await settle()
    cluster.api.down = True
    await node.send.typing(anne, ROOM)
    await settle()
    assert node.received(bob, "typing") == []


async def test_typing_is_not_sent_in_a_big_room(node: FakeNode, stored: StoredRoom) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    bob, _ = await node.enter(BOB, ROOM)
    room = node.rooms[ROOM]
    room.occupancy = limits.PRESENCE_ONE_BY_ONE_MEMBERS + 1
    await node.send.typing(anne, ROOM)
    await settle()
    assert node.received(bob, "typing") == []
    room.occupancy = limits.PRESENCE_ONE_BY_ONE_MEMBERS
    await node.send.typing(anne, ROOM)
    await settle()
    assert len(node.received(bob, "typing")) == 1


async def test_typing_is_dropped_while_redis_is_down(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    anne, _ = await node.enter(ANNE, ROOM)
    cluster.channels.go_down()
    await node.send.typing(anne, ROOM)
