"""Who is admitted, what they receive, and that a failed join keeps no seat."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gifchat_contracts import errors, identity, limits
from gifchat_contracts.errors import ErrorCode, Refused
from gifchat_contracts.grants import Grant
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import Join
from gifchat_realtime_gateway.domain.room_record import FOREVER
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.use_cases.join_room import Joined
from gifchat_realtime_gateway.use_cases.sweep_seats import PERIOD_S
from gifchat_testkit import tokens
from gifchat_testkit.fakes.rooms_api import StoredRoom
from gifchat_testkit.gateway_nodes import GUEST_GRACE_S, FakeCluster, FakeNode, now
from gifchat_testkit.virtual_time import settle

ROOM = RoomId("a" * 24)
OTHER_ROOM = RoomId("b" * 24)
ANNE, BOB, CARL, OWNER, DORA = (Identity(UserId(digit * 24), f"#{digit * 6}") for digit in "12345")


@pytest.fixture
async def node(cluster: FakeCluster) -> AsyncIterator[FakeNode]:
    async with cluster.node("n1") as node:
        yield node


@pytest.fixture
async def stored(cluster: FakeCluster) -> StoredRoom:
    return cluster.api.create(ROOM, max_members=3, owner=OWNER)


@pytest.fixture
async def private(cluster: FakeCluster) -> StoredRoom:
    return cluster.api.create(ROOM, max_members=3, owner=OWNER, private=True)


async def refused(node: FakeNode, who: Identity, room_id: RoomId = ROOM, **how: Any) -> tuple[ErrorCode, Session]:
    session = node.session(who)
    with pytest.raises(Refused) as refusal:
        await node.join.join(session, Join(room_id, **how))
    assert session.rooms == set()
    return refusal.value.code, session


def seated(cluster: FakeCluster) -> set[UserId]:
    """Return the users whose seat is held by a session, not by its grace period."""
    return {user_id for user_id, seat in cluster.seats.members[ROOM].items() if seat.nodes}


def say(cluster: FakeCluster, stored: StoredRoom, count: int, *, published: bool = True) -> None:
    for _ in range(count):
        frame = stored.say(f"message {len(stored.log) + 1}", OWNER)
        if published:
            cluster.publish(frame, to=ROOM)


def seqs(joined: Joined) -> list[int]:
    return [frame.seq for frame in joined.recent]


# Who is admitted


async def test_a_join_of_an_open_room_needs_only_the_room_id(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    bob, _ = await node.enter(BOB, ROOM)
    anne, joined = await node.enter(ANNE, ROOM)
    assert (joined.occupancy, joined.room["members"], joined.room["_id"]) == (2, 2, ROOM)
    assert anne.rooms == {ROOM}
    await settle()
    assert [payload["user_id"] for payload in node.received(bob, "join")] == [ANNE.user_id]
    assert node.received(anne, "join") == []


async def test_a_room_that_does_not_exist_is_refused(node: FakeNode) -> None:
    code, _ = await refused(node, ANNE)
    assert code is errors.ROOM_NOT_FOUND


@pytest.mark.parametrize("how", [{}, {"ticket": tokens.ticket(ROOM, BOB.user_id)}])
async def test_a_banned_user_is_refused(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom, how: dict[str, Any]
) -> None:
    stored.banned_until[BOB.user_id] = FOREVER
    code, _ = await refused(node, BOB, **how)
    assert code is errors.BANNED
    assert seated(cluster) == set()


async def test_a_user_can_join_after_their_ban_ended(node: FakeNode, stored: StoredRoom) -> None:
    stored.banned_until[BOB.user_id] = now() + timedelta(seconds=20)
    code, _ = await refused(node, BOB)
    assert code is errors.BANNED
    await asyncio.sleep(20)
    await node.enter(BOB, ROOM)


async def test_a_kicked_user_can_join_when_the_kick_ends(node: FakeNode, stored: StoredRoom) -> None:
    stored.kicked_at[BOB.user_id] = now()
    stored.kicked_until[BOB.user_id] = now() + timedelta(seconds=20)
    code, _ = await refused(node, BOB)
    assert code is errors.KICKED
    await node.enter(CARL, ROOM)
    await asyncio.sleep(20)
    await node.enter(BOB, ROOM)


async def test_a_kick_ends_the_grant_of_a_private_room(
    cluster: FakeCluster, node: FakeNode, private: StoredRoom
) -> None:
    cluster.seats.grants[ROOM, BOB.user_id] = Grant(1, now())
    private.kicked_at[BOB.user_id] = now()
    code, _ = await refused(node, BOB)
    assert code is errors.PASSWORD_REQUIRED
    cluster.seats.grants[ROOM, BOB.user_id] = Grant(1, now() + timedelta(milliseconds=1))
    await node.enter(BOB, ROOM)


async def test_a_kick_voids_earlier_tickets(node: FakeNode, private: StoredRoom) -> None:
    # Tickets are signed with the real time.
    private.kicked_at[BOB.user_id] = datetime.now(UTC) - timedelta(seconds=20)
    code, _ = await refused(node, BOB, ticket=tokens.ticket(ROOM, BOB.user_id, age_s=25))
    assert code is errors.TICKET_INVALID
    await node.enter(BOB, ROOM, ticket=tokens.ticket(ROOM, BOB.user_id, age_s=15))


async def test_a_private_room_needs_a_ticket(cluster: FakeCluster, node: FakeNode, private: StoredRoom) -> None:
    code, _ = await refused(node, BOB)
    assert code is errors.PASSWORD_REQUIRED
    await node.enter(BOB, ROOM, ticket=tokens.ticket(ROOM, BOB.user_id))
    assert seated(cluster) == {BOB.user_id}


async def test_a_user_with_a_grant_needs_no_ticket(cluster: FakeCluster, node: FakeNode, private: StoredRoom) -> None:
    cluster.seats.grants[ROOM, BOB.user_id] = Grant(1, now())
    await node.enter(BOB, ROOM)
    code, _ = await refused(node, CARL)
    assert code is errors.PASSWORD_REQUIRED


async def test_a_grant_for_an_older_password_is_void(cluster: FakeCluster, node: FakeNode, private: StoredRoom) -> None:
    cluster.seats.grants[ROOM, BOB.user_id] = Grant(1, now())
    private.access_version = 2
    code, _ = await refused(node, BOB)
    assert code is errors.PASSWORD_REQUIRED


async def test_the_owner_needs_no_password(node: FakeNode, private: StoredRoom) -> None:
    await node.enter(OWNER, ROOM)


CONTENT = {"r": ROOM, "u": BOB.user_id, "v": 1, "j": "x"}


@pytest.mark.parametrize(
    ("make_ticket", "code"),
    [
        (lambda: "", errors.TICKET_INVALID),
        (lambda: "nonsense", errors.TICKET_INVALID),
        (lambda: tokens.ticket(ROOM, BOB.user_id, secret="another"), errors.TICKET_INVALID),
        (
            lambda: tokens.signed(identity.SESSION_SALT, {"r": ROOM, "u": BOB.user_id, "v": 1, "j": "x"}),
            errors.TICKET_INVALID,
        ),
        (lambda: tokens.signed(identity.TICKET_SALT, "text"), errors.TICKET_INVALID),
        (lambda: tokens.signed(identity.TICKET_SALT, {"r": ROOM}), errors.TICKET_INVALID),
        (lambda: tokens.ticket(ROOM, CARL.user_id), errors.TICKET_INVALID),
        (lambda: tokens.ticket(OTHER_ROOM, BOB.user_id), errors.TICKET_INVALID),
        (lambda: tokens.ticket(ROOM, BOB.user_id, access_version=2), errors.TICKET_INVALID),
        (lambda: tokens.ticket(ROOM, BOB.user_id, age_s=limits.TICKET_TTL_S + 2), errors.TICKET_EXPIRED),
    ],
)
@pytest.mark.parametrize("is_private", [True, False])
async def test_a_wrong_ticket_is_refused_for_any_room(
    cluster: FakeCluster, node: FakeNode, make_ticket: Callable[[], str], code: ErrorCode, is_private: bool
) -> None:
    cluster.api.create(ROOM, private=is_private)
    found, _ = await refused(node, BOB, ticket=make_ticket())
    assert found is code
    assert seated(cluster) == set()


async def test_a_ticket_is_valid_for_one_join(cluster: FakeCluster, node: FakeNode, private: StoredRoom) -> None:
    ticket = tokens.ticket(ROOM, BOB.user_id)
    await node.enter(BOB, ROOM, ticket=ticket)
    code, _ = await refused(node, BOB, ticket=ticket)
    assert code is errors.TICKET_USED
    assert seated(cluster) == {BOB.user_id}


async def test_a_full_room_refuses_users_but_not_tabs(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    for who in (ANNE, BOB, CARL):
        await node.enter(who, ROOM)
    code, _ = await refused(node, DORA)
    assert code is errors.ROOM_FULL
    _, joined = await node.enter(ANNE, ROOM)
    assert joined.occupancy == 3


async def test_the_owner_enters_a_full_room(node: FakeNode, stored: StoredRoom) -> None:
    for who in (ANNE, BOB, CARL):
        await node.enter(who, ROOM)
    _, joined = await node.enter(OWNER, ROOM)
    assert joined.occupancy == 4
    code, _ = await refused(node, DORA)
    assert code is errors.ROOM_FULL


async def test_a_guest_gives_up_the_seat_sooner(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    sessions = [node.session(BOB, guest=True), node.session(CARL)]
    for session in sessions:
        await node.join.join(session, Join(ROOM))
        await node.leave.disconnected(session)
    await asyncio.sleep(GUEST_GRACE_S + PERIOD_S)
    assert set(cluster.seats.members[ROOM]) == {CARL.user_id}
    await asyncio.sleep(limits.SEAT_GRACE_S)
    assert set(cluster.seats.members[ROOM]) == set()


async def test_a_refusal_does_not_use_up_the_ticket(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    sessions = [(await node.enter(who, ROOM))[0] for who in (ANNE, CARL, OWNER)]
    ticket = tokens.ticket(ROOM, BOB.user_id)
    code, _ = await refused(node, BOB, ticket=ticket)
    assert code is errors.ROOM_FULL
    await node.leave.leave(sessions[0], ROOM)
    await asyncio.sleep(limits.SEAT_GRACE_S + 2)
    await node.enter(BOB, ROOM, ticket=ticket)


async def test_new_users_learn_how_long_to_wait_while_seats_recover(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    await node.enter(ANNE, ROOM)
    cluster.seats.flush()
    await asyncio.sleep(limits.LEASE_RENEW_S + 0.1)
    session = node.session(BOB)
    with pytest.raises(Refused) as refusal:
        await node.join.join(session, Join(ROOM))
    assert refusal.value.code is errors.RECOVERING
    assert refusal.value.retry_after_s is not None
    assert 0 < refusal.value.retry_after_s <= limits.RECOVERING_S
    await node.enter(ANNE, ROOM)
    await asyncio.sleep(refusal.value.retry_after_s)
    await node.join.join(session, Join(ROOM))


async def test_joins_are_refused_while_redis_is_down(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    await node.enter(ANNE, ROOM)
    cluster.set_down({"seats"})
    code, _ = await refused(node, BOB)
    assert code is errors.ADMISSION_UNAVAILABLE


@pytest.mark.parametrize("part", ["api", "channels"])
async def test_a_room_that_cannot_be_opened_is_unavailable(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom, part: str
) -> None:
    cluster.set_down({part})
    code, _ = await refused(node, ANNE)
    assert code is errors.UNAVAILABLE
    assert cluster.seats.members[ROOM] == {}
    cluster.set_down(())
    await node.enter(ANNE, ROOM)


async def test_a_membership_names_the_room_the_user_and_the_password_version(
    node: FakeNode, private: StoredRoom
) -> None:
    private.access_version = 4
    _, joined = await node.enter(OWNER, ROOM)
    content = tokens.content_of(identity.MEMBERSHIP_SALT, joined.membership)
    assert content == {"r": ROOM, "u": OWNER.user_id, "v": 4}


# One seat


async def test_joining_twice_takes_one_seat(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    session, _ = await node.enter(ANNE, ROOM)
    again = await node.join.join(session, Join(ROOM))
    assert again.occupancy == 1
    assert dict(node.seats.held(ROOM)) == {ANNE: 1}
    assert len(node.rooms[ROOM].audience) == 1
    say(cluster, stored, 1)
    await settle()
    assert len(node.received(session, "chat")) == 1
    await node.leave.leave(session, ROOM)
    assert seated(cluster) == set()


async def test_joining_again_needs_no_new_ticket(cluster: FakeCluster, node: FakeNode, private: StoredRoom) -> None:
    ticket = tokens.ticket(ROOM, BOB.user_id)
    session, _ = await node.enter(BOB, ROOM, ticket=ticket)
    say(cluster, private, 2)
    await settle()
    again = await node.join.join(session, Join(ROOM, ticket, Position(private.epoch, 1)))
    assert (again.recovered, seqs(again)) == (True, [2])


class SlowAdmission:
    """Delays the result of an admission until `opened` is set."""

    def __init__(self, node: FakeNode) -> None:
        self.admit = node.seats.admit
        self.decided = asyncio.Event()
        self.opened = asyncio.Event()
        node.seats.admit = self._admit  # type: ignore[method-assign]

    async def _admit(self, *args: Any, **kwargs: Any) -> Any:
        admission = await self.admit(*args, **kwargs)
        self.decided.set()
        await self.opened.wait()
        return admission


async def test_a_disconnect_during_the_admission_gives_the_seat_back(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    door = SlowAdmission(node)
    session = node.session(ANNE)
    joining = asyncio.create_task(node.join.join(session, Join(ROOM)))
    await door.decided.wait()
    assert seated(cluster) == {ANNE.user_id}
    await node.leave.disconnected(session)
    door.opened.set()
    with pytest.raises(Refused):
        await joining
    assert seated(cluster) == set()
    assert len(node.rooms[ROOM].audience) == 0
    assert session.rooms == set()


async def test_a_disconnect_during_the_read_gives_the_seat_back(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, 80)
    await node.enter(BOB, ROOM)
    cluster.api.hold("before")
    session = node.session(ANNE)
    joining = asyncio.create_task(node.join.join(session, Join(ROOM, None, Position(stored.epoch, 1))))
    await settle()
    assert seated(cluster) == {ANNE.user_id, BOB.user_id}
    await node.leave.disconnected(session)
    cluster.api.release()
    with pytest.raises(Refused):
        await joining
    assert seated(cluster) == {BOB.user_id}
    assert len(node.rooms[ROOM].audience) == 1


async def test_a_failed_read_gives_the_seat_back(cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
    say(cluster, stored, 80)
    await node.enter(BOB, ROOM)
    cluster.set_down({"api"})
    code, _ = await refused(node, ANNE, position=Position(stored.epoch, 1))
    assert code is errors.UNAVAILABLE
    assert seated(cluster) == {BOB.user_id}


async def test_a_failed_rejoin_keeps_the_session_in_the_room(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    say(cluster, stored, 80)
    session, _ = await node.enter(ANNE, ROOM)
    cluster.set_down({"api"})
    with pytest.raises(Refused) as refusal:
        await node.join.join(session, Join(ROOM, None, Position(stored.epoch, 1)))
    assert refusal.value.code is errors.UNAVAILABLE
    assert session.rooms == {ROOM}
    say(cluster, stored, 1)
    await settle()
    assert [payload["seq"] for payload in node.received(session, "chat")] == [81]


async def test_a_ban_during_the_admission_ends_the_session_soon(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom
) -> None:
    door = SlowAdmission(node)
    session = node.session(BOB)
    joining = asyncio.create_task(node.join.join(session, Join(ROOM)))
    await door.decided.wait()
    stored.banned_until[BOB.user_id] = FOREVER
    node.rooms[ROOM].record_read_at_s = None
    door.opened.set()
    await asyncio.wait({joining})
    await asyncio.sleep(6)
    assert session.rooms == set()
    assert seated(cluster) == set()


@pytest.mark.parametrize("seen", [None, 0, 10, 30, 79, 80])
async def test_live_events_follow_the_ack_without_a_gap(
    cluster: FakeCluster, node: FakeNode, stored: StoredRoom, seen: int | None
) -> None:
    """Messages are posted all the time: while the room opens, the seat is taken and the log is read."""
    say(cluster, stored, 80)

    async def post() -> None:
        while True:
            say(cluster, stored, 1)
            await asyncio.sleep(0)

    posting = asyncio.create_task(post())
    session, joined = await node.enter(ANNE, ROOM, None if seen is None else Position(stored.epoch, seen))
    for _ in range(50):
        await asyncio.sleep(0)
    posting.cancel()
    await asyncio.sleep(1)
    live = [payload["seq"] for payload in node.received(session, "chat")]
    got = seqs(joined) + live
    assert joined.recovered is (seen is not None)
    assert got == list(range(got[0], len(stored.log) + 1))
    if seen is not None:
        assert got[0] == seen + 1
    assert joined.position.seq == got[0] + len(seqs(joined)) - 1
