"""`gifchat_realtime_gateway.ports.SavedSessions`: one suite for the fake and for Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, new_pid
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.adapters.redis_saved_sessions import RedisSavedSessions
from gifchat_realtime_gateway.domain.saved_session import SavedRoom, SavedSession
from gifchat_realtime_gateway.domain.session import Admitted
from gifchat_realtime_gateway.ports import SavedSessions, ToSave
from gifchat_testkit.fakes.saved_sessions import FakeSavedSessions

ANNE, BOB = Identity.of_session("anne"), Identity.of_session("bob")
ADMITTED = Admitted(datetime(2026, 11, 30, 12, tzinfo=UTC), 3)
SESSION = SavedSession(
    "sid-1",
    ANNE,
    False,
    "tag-one-",
    True,
    {
        RoomId("a" * 24): SavedRoom(ADMITTED, Position(Epoch("b" * 16), 7)),
        RoomId("c" * 24): SavedRoom(ADMITTED),
    },
)
KEPT_S = 60.0


@dataclass
class World:
    saved: SavedSessions
    go_down: Callable[[], Awaitable[None]]


@pytest.fixture(params=["fake", pytest.param("valkey", marks=pytest.mark.servers)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        fake = FakeSavedSessions(asyncio.get_running_loop().time)

        async def switch_off() -> None:
            fake.down = True

        yield World(fake, switch_off)
        return
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            Redis.from_url(request.getfixturevalue("valkey"), socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        )

        async def cut_off() -> None:
            redis.connection_pool.connection_kwargs["port"] = 1
            await redis.connection_pool.disconnect()

        yield World(RedisSavedSessions(redis), cut_off)


async def test_the_user_gets_the_session_back_unchanged_and_only_once(world: World) -> None:
    pid = new_pid()
    assert await world.saved.save([ToSave(pid, SESSION, KEPT_S)])
    assert await world.saved.take(pid, ANNE.user_id, guest=False) == SESSION
    assert await world.saved.take(pid, ANNE.user_id, guest=False) is None


async def test_another_user_gets_nothing_and_does_not_delete_the_session(world: World) -> None:
    pid = new_pid()
    await world.saved.save([ToSave(pid, SESSION, KEPT_S)])
    for guest in (True, False):
        assert await world.saved.take(pid, BOB.user_id, guest=guest) is None
    assert await world.saved.take(pid, ANNE.user_id, guest=False) == SESSION


async def test_a_guests_session_goes_to_any_guest_that_knows_the_private_id(world: World) -> None:
    pid = new_pid()
    saved = replace(SESSION, guest=True)
    await world.saved.save([ToSave(pid, saved, KEPT_S)])
    assert await world.saved.take(pid, BOB.user_id, guest=False) is None
    assert await world.saved.take(pid, BOB.user_id, guest=True) == saved


async def test_only_one_of_several_callers_gets_the_session(world: World) -> None:
    pid = new_pid()
    await world.saved.save([ToSave(pid, SESSION, KEPT_S)])
    taken = await asyncio.gather(*(world.saved.take(pid, ANNE.user_id, guest=False) for _ in range(10)))
    assert taken.count(SESSION) == 1
    assert taken.count(None) == 9


async def test_the_last_save_wins(world: World) -> None:
    pid = new_pid()
    later = replace(SESSION, rooms={})
    await world.saved.save([ToSave(pid, SESSION, KEPT_S), ToSave(pid, later, KEPT_S)])
    assert await world.saved.take(pid, ANNE.user_id, guest=False) == later


async def test_an_earlier_session_cannot_overwrite_one_that_took_over_its_id(world: World) -> None:
    pid = new_pid()
    later = replace(SESSION, sid="sid-2")
    await world.saved.save([ToSave(pid, SESSION, KEPT_S)])
    await world.saved.save([ToSave(pid, later, KEPT_S)])
    assert await world.saved.take(pid, ANNE.user_id, guest=False) == SESSION, (
        "the later session did not take over the id"
    )
    await world.saved.save([ToSave(pid, SESSION, KEPT_S), ToSave(pid, later, KEPT_S, takes_over=True)])
    for kept_s in (KEPT_S, 0.0):
        await world.saved.save([ToSave(pid, SESSION, kept_s)])
    assert await world.saved.take(pid, ANNE.user_id, guest=False) == later


async def test_a_session_is_deleted_on_request_and_when_it_expires(world: World) -> None:
    forgotten, expired = new_pid(), new_pid()
    await world.saved.save([ToSave(forgotten, SESSION, KEPT_S), ToSave(expired, SESSION, 0.05)])
    await world.saved.save([ToSave(forgotten, SESSION, 0.0)])
    assert await world.saved.take(forgotten, ANNE.user_id, guest=False) is None
    deadline_s = asyncio.get_running_loop().time() + 5.0
    while (found := await world.saved.take(expired, ANNE.user_id, guest=False)) is not None:
        assert asyncio.get_running_loop().time() < deadline_s
        await world.saved.save([ToSave(expired, found, 0.05)])
        await asyncio.sleep(0.1)


async def test_save_and_take_do_not_raise_while_the_store_is_down(world: World) -> None:
    await world.go_down()
    assert not await world.saved.save([ToSave(new_pid(), SESSION, KEPT_S)])
    assert await world.saved.take(new_pid(), ANNE.user_id, guest=False) is None
