"""Sessions are saved in batches when their rooms change. An ended session is kept for its grace period."""

import weakref
from datetime import UTC, datetime

import pytest

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Pid, RoomId
from gifchat_realtime_gateway.domain.saved_session import SavedSession
from gifchat_realtime_gateway.domain.session import Admitted, Session
from gifchat_realtime_gateway.use_cases.save_sessions import AGAIN_AFTER_S, KEPT_S, SESSIONS_PER_BATCH, SaveSessions
from gifchat_testkit.fakes.saved_sessions import FakeSavedSessions

ROOM, OTHER = RoomId("a" * 24), RoomId("b" * 24)
ADMITTED = Admitted(datetime(2026, 11, 30, tzinfo=UTC), 1)
GRACE_S = 10.0
TAG = "tag-one-"


class World:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.saved = FakeSavedSessions(lambda: self.now_s)
        self.save = SaveSessions(self.saved, {}, own_tag=TAG, grace_s=GRACE_S, clock=lambda: self.now_s)

    def session(self, sid: str, *rooms: RoomId, guest: bool = False) -> Session:
        session = Session(sid, Identity.of_session(sid), "en")
        self.save.track(session, Pid(f"pid of {sid}"), guest=guest)
        for room in rooms:
            session.enter(room, ADMITTED)
        return session

    def kept(self, sid: str) -> tuple[SavedSession, float] | None:
        """Return the saved session, and how long it is kept."""
        found = self.saved.saved.get(Pid(f"pid of {sid}"))
        return None if found is None else (found[0], found[1] - self.now_s)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_session_is_saved_with_its_rooms(world: World) -> None:
    session = world.session("one", ROOM, OTHER)
    session.leave(OTHER)
    assert await world.save.save()
    kept = world.kept("one")
    assert kept is not None
    assert (set(kept[0].rooms), kept[0].node, kept[0].ended, kept[1]) == ({ROOM}, TAG, False, KEPT_S)


async def test_only_changed_sessions_are_saved_in_one_batch(world: World) -> None:
    sessions = [world.session(f"{number}", ROOM) for number in range(SESSIONS_PER_BATCH + 1)]
    sessions[0].enter(OTHER, ADMITTED)
    for _ in range(3):
        await world.save.save()
    assert [len(batch) for batch in world.saved.calls] == [SESSIONS_PER_BATCH, 1, 0]


async def test_only_the_first_save_takes_over_the_private_id(world: World) -> None:
    session = world.session("one", ROOM)
    await world.save.save()
    session.enter(OTHER, ADMITTED)
    await world.save.save()
    assert [batch[0].takes_over for batch in world.saved.calls] == [True, False]


async def test_an_ended_session_is_kept_for_the_grace_with_its_last_rooms(world: World) -> None:
    session = world.session("one", ROOM)
    await world.save.save()
    world.save.ended(session, for_good=False)
    session.leave(ROOM)
    await world.save.settle()
    kept = world.kept("one")
    assert kept is not None
    assert (set(kept[0].rooms), kept[0].ended, kept[1]) == ({ROOM}, True, GRACE_S)


async def test_a_session_that_its_client_closed_is_deleted(world: World) -> None:
    session = world.session("one", ROOM)
    await world.save.save()
    world.save.ended(session, for_good=True)
    await world.save.settle()
    kept = world.kept("one")
    assert kept is not None
    assert kept[1] == 0.0


async def test_a_session_that_was_never_in_a_room_is_not_saved(world: World) -> None:
    world.save.ended(world.session("one"), for_good=False)
    await world.save.settle()
    assert world.saved.calls == []


async def test_a_failed_save_is_retried(world: World) -> None:
    session = world.session("one", ROOM)
    world.saved.down = True
    assert not await world.save.save()
    session.enter(OTHER, ADMITTED)
    world.saved.down = False
    assert await world.save.save()
    kept = world.kept("one")
    assert kept is not None
    assert kept[0].rooms.keys() == {ROOM, OTHER}


async def test_a_session_that_ended_during_a_failed_save_is_not_saved_as_live(world: World) -> None:
    session = world.session("one", ROOM)
    world.saved.down = True
    await world.save.save()
    world.save.ended(session, for_good=False)
    world.saved.down = False
    await world.save.save()
    kept = world.kept("one")
    assert kept is not None
    assert kept[0].ended


async def test_a_live_session_is_saved_again_before_it_expires(world: World) -> None:
    world.session("one", ROOM)
    await world.save.save()
    world.now_s += AGAIN_AFTER_S
    world.save.look()
    await world.save.save()
    kept = world.kept("one")
    assert kept is not None
    assert kept[1] == KEPT_S
    assert AGAIN_AFTER_S < KEPT_S / 2


async def test_a_session_that_was_saved_meanwhile_is_not_saved_again_early(world: World) -> None:
    session = world.session("one", ROOM)
    await world.save.save()
    world.now_s += AGAIN_AFTER_S / 2
    session.enter(OTHER, ADMITTED)
    await world.save.save()
    world.now_s += AGAIN_AFTER_S / 2
    world.save.look()
    await world.save.save()
    assert [len(batch) for batch in world.saved.calls] == [1, 1, 0]


async def test_a_session_that_ended_is_not_kept_in_memory(world: World) -> None:
    session = world.session("one", ROOM)
    await world.save.save()
    world.save.ended(session, for_good=False)
    await world.save.settle()
    budget = weakref.ref(session.budget)
    del session
    assert budget() is None
