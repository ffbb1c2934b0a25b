"""The janitor's jobs on real servers: recording occupancy, removing rooms, and leadership."""

import asyncio
from typing import Any

import pytest

from gifchat_contracts import keys
from gifchat_contracts.codec import Kind
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.adapters.mongo_leadership import MongoLeadership
from gifchat_rooms_api.use_cases.recent_rooms import outdate_copies

from .conftest import Api, Rounds, StartApi, User

pytestmark = pytest.mark.servers

TTL_S = 300


@pytest.fixture
async def api(janitor: Rounds, start_api: StartApi) -> Api:
    started: Api = await start_api(empty_room_ttl=TTL_S)
    return started


@pytest.fixture
async def anne(api: Api) -> User:
    return await api.user("anne")


async def rooms_exist(user: User, *rooms: dict[str, Any]) -> list[bool]:
    await outdate_copies()
    return [(await user.http.get(f"/rooms/{room['_id']}")).status_code == 200 for room in rooms]


async def test_an_empty_room_is_removed_after_its_ttl_with_its_log(janitor: Rounds, api: Api, anne: User) -> None:
    room = await anne.room()
    await anne.http.post(f"/rooms/{room['_id']}/messages", json={"client_message_id": "k", "text": "hi"})
    lobby = await api.listen(keys.LOBBY_CHANNEL)
    api.clock.forward(seconds=TTL_S - 10)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [True]
    api.clock.forward(seconds=20)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [False]
    frame = await lobby.next()
    assert (frame.kind, frame.body) == (Kind.ROOM_REMOVED, f'["removeRoom","{room["_id"]}"]'.encode())
    assert await api.database["messages"].count_documents({}) == 0


async def test_the_ttl_starts_when_the_last_member_leaves(janitor: Rounds, api: Api, anne: User) -> None:
    room = await anne.room()
    await api.take_seats(room, anne.who.user_id)
    await janitor.whole()
    api.clock.forward(seconds=2 * TTL_S)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [True]
    await api.leave_seats(room)
    await janitor.whole()
    api.clock.forward(seconds=TTL_S - 10)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [True]
    api.clock.forward(seconds=20)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [False]


async def test_a_returning_member_restarts_the_ttl(janitor: Rounds, api: Api, anne: User) -> None:
    room = await anne.room()
    api.clock.forward(seconds=TTL_S - 10)
    await api.take_seats(room, anne.who.user_id)
    await janitor.whole()
    await api.leave_seats(room)
    await janitor.whole()
    api.clock.forward(seconds=20)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [True]


async def test_no_room_is_removed_while_redis_is_recovering(janitor: Rounds, api: Api, anne: User) -> None:
    room = await anne.room()
    partition = keys.partition_of(RoomId(room["_id"]))
    await api.redis.delete(keys.generation(partition))
    api.clock.forward(seconds=2 * TTL_S)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [True], "Redis came back empty"
    await api.redis.set(keys.generation(partition), 2**45)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [True], "the gateways are still re-registering seats"
    await api.redis.set(keys.generation(partition), 0)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [False]


async def test_ttl_0_keeps_empty_rooms(janitor: Rounds, start_api: StartApi) -> None:
    api: Api = await start_api(empty_room_ttl=0)
    anne = await api.user("anne")
    room = await anne.room()
    api.clock.forward(days=365)
    await janitor.whole()
    assert await rooms_exist(anne, room) == [True]


async def test_rooms_are_sorted_by_members_even_while_redis_is_down(
    janitor: Rounds, api: Api, start_api: StartApi, anne: User
) -> None:
    rooms = [await anne.room(title=f"{number} members") for number in (1, 3, 0, 2)]
    for room, number in zip(rooms, (1, 3, 0, 2), strict=True):
        await api.take_seats(room, *(anne.who.user_id[:-1] + str(each) for each in range(number)))  # type: ignore[arg-type]
    await janitor.whole()
    seen: list[tuple[str, int]] = []
    query: dict[str, Any] = {"sort": "members", "limit": 3}
    for _ in range(2):
        page = (await anne.http.get("/rooms", params=query)).json()
        seen += [(room["title"], room["members"]) for room in page["items"]]
        query["cursor"] = page["next_cursor"]
    assert seen == [("3 members", 3), ("2 members", 2), ("1 members", 1), ("0 members", 0)]
    without_redis: Api = await start_api(redis_url="redis://127.0.0.1:1/0")
    reader = await without_redis.user("reader")
    listed = (await reader.http.get("/rooms", params={"sort": "members"})).json()["items"]
    assert [room["members"] for room in listed] == [3, 2, 1, 0]


async def test_a_message_stored_during_its_rooms_removal_is_removed_later(
    janitor: Rounds, api: Api, anne: User
) -> None:
    room = await anne.room()
    await anne.http.post(f"/rooms/{room['_id']}/messages", json={"client_message_id": "k", "text": "hi"})
    late = await api.database["messages"].find_one({})
    assert late is not None
    assert (await anne.http.delete(f"/rooms/{room['_id']}")).status_code == 204
    await api.database["messages"].insert_one(late)
    await janitor.whole()
    assert await api.database["messages"].count_documents({}) == 1, "more messages may be in flight"
    api.clock.forward(seconds=70)
    await janitor.whole()
    assert await api.database["messages"].count_documents({}) == 0
    assert await api.database["removed_rooms"].count_documents({}) == 0


async def test_a_replica_leads_until_it_releases_or_its_lease_expires(api: Api) -> None:
    client, name = api.database.client, api.database.name
    first, second = (MongoLeadership(client, name, "a task", holder) for holder in ("first", "second"))
    assert await first.acquire(60)
    assert await first.acquire(60)
    assert not await second.acquire(60)
    await second.release()
    assert not await second.acquire(60), "only the leader can release its lease"
    await first.release()
    assert await second.acquire(0.05)
    async with asyncio.timeout(10):
        while not await first.acquire(60):
            await asyncio.sleep(0.01)
    assert not await second.acquire(60)


async def test_only_one_of_many_candidates_leads(api: Api) -> None:
    candidates = [MongoLeadership(api.database.client, api.database.name, "a task", f"{n}") for n in range(8)]
    assert sum(await asyncio.gather(*(each.acquire(60) for each in candidates))) == 1
