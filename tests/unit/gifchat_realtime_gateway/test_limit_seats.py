"""The bound of seats for each address, in a cluster of fake nodes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.socket_events import Join
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.use_cases.limit_seats import KEPT_S, SHARE
from gifchat_testkit.gateway_nodes import ADDRESS, GUEST_SEATS_PER_ADDRESS, SEATS_PER_ADDRESS, FakeCluster, FakeNode

ROOM = RoomId("a" * 24)
OWNER = Identity(UserId("f" * 24), "#ffffff")
ELSEWHERE = "203.0.113.99"


def user(number: int) -> Identity:
    return Identity(UserId(f"{number:024x}"), "#111111")


@pytest.fixture
async def nodes(cluster: FakeCluster) -> AsyncIterator[list[FakeNode]]:
    cluster.api.create(ROOM, max_members=1_000, owner=OWNER)
    async with cluster.node("n1") as one, cluster.node("n2") as two:
        yield [one, two]


async def join(node: FakeNode, number: int, *, address: str = ADDRESS, guest: bool = False) -> Session | str:
    """Join as a user; return the session, or the code of the refusal."""
    session = node.session(user(number), address=address, guest=guest)
    try:
        await node.join.join(session, Join(ROOM))
    except Refused as refusal:
        return refusal.code.code
    return session


async def fill(node: FakeNode, numbers: range, *, guest: bool = False) -> list[Session]:
    sessions = [await join(node, number, guest=guest) for number in numbers]
    assert all(isinstance(session, Session) for session in sessions), sessions
    return [session for session in sessions if isinstance(session, Session)]


async def test_an_address_has_a_bounded_number_of_seats(cluster: FakeCluster, nodes: list[FakeNode]) -> None:
    await fill(nodes[0], range(SEATS_PER_ADDRESS))
    assert await join(nodes[0], 1_000) == errors.TOO_MANY_SEATS.code
    assert len(cluster.seats.members[ROOM]) == SEATS_PER_ADDRESS
    assert isinstance(await join(nodes[0], 0), Session), "another tab needs no further seat"
    assert isinstance(await join(nodes[0], 1_001, address=ELSEWHERE), Session)


async def test_the_bound_holds_over_all_nodes_but_for_a_share(nodes: list[FakeNode]) -> None:
    await fill(nodes[0], range(SEATS_PER_ADDRESS))
    share = SEATS_PER_ADDRESS // SHARE
    await fill(nodes[1], range(1_000, 1_000 + share))
    assert await join(nodes[1], 2_000) == errors.TOO_MANY_SEATS.code
    await asyncio.sleep(2 * KEPT_S)
    assert await join(nodes[1], 2_000) == errors.TOO_MANY_SEATS.code, "the first node renews its number"


async def test_a_dead_nodes_seats_stop_counting(cluster: FakeCluster) -> None:
    cluster.api.create(ROOM, max_members=1_000, owner=OWNER)
    async with cluster.node("dead") as dead:
        await fill(dead, range(SEATS_PER_ADDRESS))
    await asyncio.sleep(KEPT_S)
    async with cluster.node("alive") as alive:
        await fill(alive, range(1_000, 1_000 + SEATS_PER_ADDRESS))


async def test_a_seat_counts_until_its_grace_ends(nodes: list[FakeNode]) -> None:
    sessions = await fill(nodes[0], range(SEATS_PER_ADDRESS))
    await nodes[0].leave.leave(sessions[0], ROOM)
    assert await join(nodes[0], 1_000) == errors.TOO_MANY_SEATS.code
    await asyncio.sleep(limits.SEAT_GRACE_S)
    assert isinstance(await join(nodes[0], 1_000), Session)


async def test_a_refused_join_counts_no_seat(cluster: FakeCluster, nodes: list[FakeNode]) -> None:
    cluster.api.rooms[ROOM].payload["max"] = 2
    await fill(nodes[0], range(2))
    assert [await join(nodes[0], number) for number in range(10, 10 + SEATS_PER_ADDRESS)] == (
        [errors.ROOM_FULL.code] * SEATS_PER_ADDRESS
    )


async def test_guests_have_a_bound_of_their_own(nodes: list[FakeNode]) -> None:
    await fill(nodes[0], range(GUEST_SEATS_PER_ADDRESS), guest=True)
    assert await join(nodes[0], 1_000, guest=True) == errors.TOO_MANY_SEATS.code
    assert isinstance(await join(nodes[0], 1_001), Session)


async def test_the_owner_always_enters(nodes: list[FakeNode]) -> None:
    await fill(nodes[0], range(SEATS_PER_ADDRESS))
    owner, _ = await nodes[0].enter(OWNER, ROOM)
    await nodes[0].leave.leave(owner, ROOM)
    assert await join(nodes[0], 1_000) == errors.TOO_MANY_SEATS.code, "the owner's leaving frees no seat of others"
