"""The node's router and loops survive any published bytes, and no garbage reaches clients."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_contracts.events import body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.session import Session
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode
from gifchat_testkit.virtual_time import VirtualTimeLoop, settle

ROOM = RoomId("a" * 24)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")
DEEP = b"[" * 200_000

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([ROOM, "members", "room"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["members", ROOM]), inner),
    max_leaves=6,
)
EPHEMERAL = [kind for kind in Kind if not kind.durable]


async def still_works(cluster: FakeCluster, node: FakeNode, anne: Session) -> None:
    """Check that a message arrives once, and that every loop of the node still runs."""
    before = len(node.received(anne, "chat"))
    text = f"still there {before}"
    cluster.publish(cluster.api.rooms[ROOM].say(text, BOB), to=ROOM)
    await asyncio.sleep(5)
    assert [message["chat"] for message in node.received(anne, "chat")[before:]] == [text]
    await node.enter(BOB, ROOM)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x01" * 18,
        encode(Frame(Kind.PRESENCE, b"")),
        encode(Frame(Kind.PRESENCE, DEEP)),
        encode(Frame(Kind.PRESENCE, body("presence", {"room": ROOM, "members": "many"}))),
        encode(Frame(Kind.PRESENCE, body("presence", {"room": ROOM, "members": 300, "joined": [1]}))),
        encode(Frame(Kind.SANCTION, b"\xff\xfe", subject=ANNE.user_id)),
        encode(Frame(Kind.SANCTION, body("sanction", []), subject=ANNE.user_id)),
        encode(Frame(Kind.SANCTION, DEEP, subject=ANNE.user_id)),
        encode(Frame(Kind.NEW_ROOM, b"")),
        encode(Frame(Kind.CHAT, b"", None, 0)),
        bytes([1, 99]) + bytes(20),
        bytes([2]) + encode(Frame(Kind.EXIT, b""))[1:],
    ],
    ids=lambda data: repr(data[:24]),
)
async def test_the_node_survives_garbage_on_a_rooms_channel(cluster: FakeCluster, data: bytes) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        cluster.channels.publish(keys.room_channel(ROOM), data)
        await settle()
        await still_works(cluster, node, anne)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.OCCUPANCY, b""),
        Frame(Kind.OCCUPANCY, DEEP),
        Frame(Kind.OCCUPANCY, body("occupancy", [["a", "b"]])),
        Frame(Kind.OCCUPANCY, body("occupancy", {ROOM: "many"})),
        Frame(Kind.OCCUPANCY, body("occupancy", {"no room": 1})),
        Frame(Kind.ROOM_REMOVED, body("removeRoom", {"a": []})),
        Frame(Kind.ROOM_REMOVED, b"\xff"),
        Frame(Kind.PRESENCE, body("presence", {})),
    ],
    ids=lambda frame: repr(frame.body[:24]),
)
async def test_the_node_survives_garbage_on_the_lobbys_channel(cluster: FakeCluster, frame: Frame) -> None:
    cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        node.sockets.lobby["visitor"] = []
        cluster.tell_lobby(frame)
        await settle()
        await still_works(cluster, node, anne)
        occupancies = [payload for event, payload in node.sockets.lobby["visitor"] if event == "occupancy"]
        assert occupancies == [{ROOM: 1}]
        assert node.rooms[ROOM].occupancy == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from([keys.room_channel(ROOM), keys.LOBBY_CHANNEL, "another"]),
            st.one_of(
                st.binary(max_size=60),
                st.builds(
                    lambda kind, payload, subject: encode(
                        Frame(kind, json.dumps(["event", payload]).encode(), subject=subject)
                    ),
                    st.sampled_from([kind for kind in EPHEMERAL if not kind.positioned]),
                    JSON_VALUES,
                    st.sampled_from([None, BOB.user_id]),
                ),
            ),
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_node_keeps_working_after_any_published_bytes(published: list[tuple[str, bytes]]) -> None:
    async def hear() -> None:
        cluster = FakeCluster()
        cluster.api.create(ROOM)
        async with cluster.node("n1") as node:
            anne, _ = await node.enter(ANNE, ROOM)
            for channel, data in published:
                cluster.channels.publish(channel, data)
            await settle()
            # A frame may have said that the room was removed.
            if ROOM not in anne.rooms:
                anne, _ = await node.enter(ANNE, ROOM)
            await still_works(cluster, node, anne)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(hear())


async def test_duplicated_and_reordered_messages_arrive_once_and_in_order(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        frames = [stored.say(str(seq), BOB) for seq in range(1, 7)]
        for at in (2, 0, 0, 5, 1, 2, 4, 4, 3, 5, 0):
            cluster.publish(frames[at], to=ROOM)
        await settle()
        assert [message["chat"] for message in node.received(anne, "chat")] == ["1", "2", "3", "4", "5", "6"]


async def test_a_frame_on_another_channel_does_not_reach_a_room(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        anne, _ = await node.enter(ANNE, ROOM)
        data = encode(stored.say("1", BOB))
        for channel in ("", "x", f"}}:room:{ROOM}:other", f"}}:room:{ROOM[:-1]}:events", keys.LOBBY_CHANNEL):
            node.router.on_data(channel, data)
        await settle()
        assert node.received(anne, "chat") == []


async def test_a_revocation_reaches_the_node_and_anything_else_on_its_channel_is_dropped(cluster: FakeCluster) -> None:
    async with cluster.node("n1") as node:
        for frame in (
            Frame(Kind.SESSION_REVOKED, b""),
            Frame(Kind.CANARY, b"", subject=ANNE.user_id),
            Frame(Kind.SESSION_REVOKED, b"", subject=BOB.user_id),
        ):
            node.router.on_data(keys.REVOCATIONS_CHANNEL, encode(frame))
        node.router.on_data(keys.LOBBY_CHANNEL, encode(Frame(Kind.SESSION_REVOKED, b"", subject=ANNE.user_id)))
        assert node.revoked == [BOB.user_id]
