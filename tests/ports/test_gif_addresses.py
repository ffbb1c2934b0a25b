"""`gifchat_rooms_api.ports.GifAddresses`: one suite for the fake and for MongoDB."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifAddresses, MongoGifs
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.adapters.mongo_rooms import MongoRooms
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.domain.message import Draft, Gif, LogEntry, Message
from gifchat_rooms_api.ports import BlobId, BlobRef, GifAddress, GifAddresses, GifRecord, Gifs
from gifchat_testkit.fakes.gif_addresses import FakeGifAddresses
from gifchat_testkit.fakes.gifs import FakeGifs
from gifchat_testkit.fakes.rooms import room_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)
GIF_ID = GifId(sha256(b"x").hexdigest())
REF = BlobRef(BlobId("c" * 24), 1, GIF_ID)
RECORD = GifRecord(StoredGif(GIF_ID, Format.GIF, 1, 320, 240, 12), REF, REF)


@dataclass
class Store:
    addresses: GifAddresses
    gifs: Gifs
    add_room: Callable[[], Awaitable[RoomId]]
    remove_room: Callable[[RoomId], Awaitable[None]]
    """Remove the room, but leave its log, as if the process had died in between."""
    post: Callable[[RoomId, int], Awaitable[None]]
    """Store a message with the GIF at a seq."""
    delete: Callable[[RoomId, int], Awaitable[None]]

    async def find(self, room_id: RoomId, now: datetime = NOW) -> GifAddress | None:
        return await self.addresses.find(room_id, GIF_ID, now)


def fake_store() -> Store:
    gifs = FakeGifs()
    fake = FakeGifAddresses(gifs)
    posted: set[tuple[RoomId, int]] = set()

    def update_shown(room_id: RoomId) -> None:
        fake.shown = {(room, GIF_ID) for room, _ in posted}

    async def add_room() -> RoomId:
        room_id = RoomId(str(ObjectId()))
        fake.rooms.add(room_id)
        return room_id

    async def remove_room(room_id: RoomId) -> None:
        fake.rooms.remove(room_id)

    async def post(room_id: RoomId, seq: int) -> None:
        posted.add((room_id, seq))
        update_shown(room_id)

    async def delete(room_id: RoomId, seq: int) -> None:
        posted.discard((room_id, seq))
        fake.deleted.add((room_id, GIF_ID))
        update_shown(room_id)

    return Store(fake, gifs, add_room, remove_room, post, delete)


def mongo_store(client: AsyncMongoClient[dict[str, Any]], database: str) -> Store:
    rooms, log = MongoRooms(client, database), MongoMessages(client, database)

    async def add_room() -> RoomId:
        room_id = RoomId(str(ObjectId()))
        await rooms.add(room_of(room_id))
        return room_id

    async def remove_room(room_id: RoomId) -> None:
        assert await rooms.remove(room_id)

    async def post(room_id: RoomId, seq: int) -> None:
        message = Message("#86362d", Gif(GIF_ID, f"{GIF_ID}.gif", 320, 240, 12))
        draft = Draft(str(ObjectId()), ANNE, f"key-{seq}", message)
        assert (await log.append(room_id, [LogEntry(seq, NOW, draft)])).stored == 1

    async def delete(room_id: RoomId, seq: int) -> None:
        assert await log.redact(room_id, seq) is not None

    return Store(MongoGifAddresses(client, database), MongoGifs(client, database), add_room, remove_room, post, delete)


@pytest.fixture(params=["fake", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fake":
        fake = fake_store()
        await fake.gifs.add(RECORD, NOW)
        yield fake
        return
    mongo_url, database = request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_database")
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        await MongoMessages(client, database).create_indexes()
        await MongoGifAddresses(client, database).create_indexes()
        real = mongo_store(client, database)
        await real.gifs.add(RECORD, NOW)
        yield real


async def test_an_address_is_live_only_in_the_room_that_shows_the_gif(store: Store) -> None:
    room, other = await store.add_room(), await store.add_room()
    await store.post(room, 1)
    assert await store.find(room) == GifAddress(RECORD, shown=True)
    assert await store.find(other) is None


async def test_deleting_the_message_ends_the_address_of_its_room_only(store: Store) -> None:
    room, other = await store.add_room(), await store.add_room()
    await store.post(room, 1)
    await store.post(other, 1)
    await store.delete(room, 1)
    assert await store.find(room) is None
    assert await store.find(other) is not None


async def test_an_address_lives_until_the_last_message_with_the_gif_is_deleted(store: Store) -> None:
    room = await store.add_room()
    await store.post(room, 1)
    await store.post(room, 2)
    await store.delete(room, 1)
    assert await store.find(room) is not None
    await store.delete(room, 2)
    assert await store.find(room) is None


async def test_removing_the_room_ends_its_addresses_before_its_log_is_removed(store: Store) -> None:
    room = await store.add_room()
    await store.post(room, 1)
    await store.addresses.add_upload(room, ANNE, GIF_ID, LATER)
    await store.remove_room(room)
    assert await store.find(room) is None


async def test_an_upload_is_live_in_its_room_until_it_expires(store: Store) -> None:
    room, other = await store.add_room(), await store.add_room()
    await store.addresses.add_upload(room, ANNE, GIF_ID, LATER)
    assert await store.find(room) == GifAddress(RECORD, shown=False)
    assert await store.find(other) is None
    assert await store.find(room, LATER) is None


async def test_an_upload_does_not_revive_a_deleted_gif_but_a_message_does(store: Store) -> None:
    room = await store.add_room()
    await store.addresses.add_upload(room, ANNE, GIF_ID, LATER)
    await store.post(room, 1)
    for _ in range(2):  # a deletion may be repeated
        await store.delete(room, 1)
    assert await store.find(room) is None
    await store.addresses.add_upload(room, BOB, GIF_ID, LATER)
    assert await store.find(room) is None
    await store.post(room, 2)
    assert await store.find(room) == GifAddress(RECORD, shown=True)


async def test_the_address_of_an_unknown_gif_is_not_live(store: Store) -> None:
    room = await store.add_room()
    await store.addresses.add_upload(room, ANNE, GifId("ab" * 32), LATER)
    assert await store.addresses.find(room, GifId("ab" * 32), NOW) is None


async def test_a_gif_can_be_posted_by_its_uploader_or_while_a_message_shows_it(store: Store) -> None:
    room = await store.add_room()
    await store.addresses.add_upload(room, ANNE, GIF_ID, LATER)

    async def may_post(user_id: UserId, now: datetime = NOW) -> bool:
        return await store.addresses.may_post(user_id, GIF_ID, now)

    assert (await may_post(ANNE), await may_post(BOB), await may_post(ANNE, LATER)) == (True, False, False)
    await store.post(room, 1)
    assert await may_post(BOB)
    await store.delete(room, 1)
    assert not await may_post(BOB)
