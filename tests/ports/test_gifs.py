"""`gifchat_rooms_api.ports.GifStore`: the fake and MongoDB are held to the same promises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifs
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.domain.message import Draft, Gif, LogEntry, Message
from gifchat_rooms_api.ports import GifFile, GifStore
from gifchat_testkit.fakes.gifs import FakeGifStore

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
HOUR = timedelta(hours=1)
STILL = b"the still"


@dataclass
class Store:
    gifs: GifStore
    show: Callable[[StoredGif], Awaitable[None]]
    """Stores a message that shows the GIF."""
    files: Callable[[], Awaitable[int]]
    """How many files are kept."""

    async def sweep(self, unused_since: datetime, now: datetime = NOW) -> int:
        return await self.gifs.remove_unreferenced(unused_since, unused_since, now)


@pytest.fixture(params=["fake", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fake":
        fake = FakeGifStore()

        async def show_in_fake(gif: StoredGif) -> None:
            fake.shown.add(gif.gif_id)

        async def files_of_fake() -> int:
            return 2 * len(fake)

        yield Store(fake, show_in_fake, files_of_fake)
        return
    mongo_url, database = request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_database")
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        messages, gifs = MongoMessages(client, database), MongoGifs(client, database)
        await messages.create_indexes()
        await gifs.create_indexes()

        async def show_in_mongo(gif: StoredGif) -> None:
            content = Gif(gif.gif_id, gif.file, gif.width, gif.height)
            draft = Draft(str(ObjectId()), UserId("a" * 24), "key", Message("#86362d", content))
            await messages.append(RoomId(str(ObjectId())), [LogEntry(1, NOW, draft)])

        async def files_of_mongo() -> int:
            files = await client[database]["gif_files.files"].distinct("_id")
            chunks = await client[database]["gif_files.chunks"].distinct("files_id")
            assert set(files) == set(chunks), "every file has its chunks, and no chunk is left behind"
            return len(files)

        yield Store(gifs, show_in_mongo, files_of_mongo)


def gif_of(data: bytes, gif_format: Format = Format.GIF) -> StoredGif:
    return StoredGif(GifId(sha256(data).hexdigest()), gif_format, len(data), 320, 240, 12)


async def put(store: Store, data: bytes, now: datetime = NOW, gif_format: Format = Format.GIF) -> StoredGif:
    gif = gif_of(data, gif_format)
    await store.gifs.put(gif, data, STILL, now)
    return gif


async def content(file: GifFile | None, start: int = 0, stop: int | None = None) -> bytes:
    assert file is not None
    return b"".join([piece async for piece in file.read(start, file.size if stop is None else stop)])


async def test_what_was_put_comes_back(store: Store) -> None:
    gif = await put(store, b"GIF89a...")
    assert await store.gifs.use(gif.gif_id, NOW) == gif
    file = await store.gifs.open(gif.gif_id, "gif")
    assert file is not None
    assert (file.content_type, file.size, file.digest) == ("image/gif", 9, gif.gif_id)
    assert await content(file) == b"GIF89a..."


async def test_beside_it_is_its_still(store: Store) -> None:
    gif = await put(store, b"webp", gif_format=Format.WEBP)
    still = await store.gifs.open_still(gif.gif_id)
    assert still is not None
    assert (still.content_type, still.size, still.digest) == (
        "image/png",
        len(STILL),
        sha256(STILL).hexdigest(),
    )
    assert await content(still) == STILL


@pytest.mark.parametrize("gif_format", list(Format))
async def test_a_gif_has_the_extension_of_its_format_and_no_other(store: Store, gif_format: Format) -> None:
    gif = await put(store, b"x", gif_format=gif_format)
    found = {each for each in ("gif", "png", "jpg", "webp", "still.png", "") if await store.gifs.open(gif.gif_id, each)}
    assert found == {gif_format.value}


async def test_what_is_not_there_is_none(store: Store) -> None:
    missing = GifId("ab" * 32)
    assert await store.gifs.use(missing, NOW) is None
    assert await store.gifs.open(missing, "gif") is None
    assert await store.gifs.open_still(missing) is None


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 600_000), (260_000, 270_000), (261_120, 261_121), (5, 5)])
async def test_a_part_is_read_across_pieces(store: Store, start: int, stop: int) -> None:
    data = bytes(number % 251 for number in range(600_000))
    gif = await put(store, data)
    assert await content(await store.gifs.open(gif.gif_id, "gif"), start, stop) == data[start:stop]


async def test_the_same_gif_is_kept_once_however_often_and_at_once_it_is_put(store: Store) -> None:
    await asyncio.gather(*(put(store, b"same") for _ in range(8)))
    gif = await put(store, b"same")
    await put(store, b"other")
    assert await store.files() == 4
    assert await content(await store.gifs.open(gif.gif_id, "gif")) == b"same"
    assert await content(await store.gifs.open_still(gif.gif_id)) == STILL


async def test_what_nobody_shows_goes_after_its_time_with_its_files(store: Store) -> None:
    gif = await put(store, b"x")
    assert await store.sweep(NOW) == 0
    assert await store.gifs.open(gif.gif_id, "gif") is not None
    assert await store.sweep(NOW + HOUR) == 1
    assert await store.gifs.open(gif.gif_id, "gif") is None
    assert await store.gifs.open_still(gif.gif_id) is None
    assert await store.files() == 0
    assert await store.sweep(NOW + HOUR) == 0


async def test_what_a_message_shows_stays_and_the_rest_goes(store: Store) -> None:
    shown, other = await put(store, b"shown"), await put(store, b"other")
    await store.show(shown)
    assert await store.sweep(NOW + HOUR, now=NOW + 2 * HOUR) == 1
    assert await store.gifs.use(shown.gif_id, NOW) == shown
    assert await store.gifs.use(other.gif_id, NOW) is None


async def test_using_a_gif_or_putting_it_again_keeps_it(store: Store) -> None:
    used, again = await put(store, b"used"), await put(store, b"again")
    await store.gifs.use(used.gif_id, NOW + 2 * HOUR)
    await put(store, b"again", now=NOW + 2 * HOUR)
    assert await store.sweep(NOW + HOUR) == 0
    assert await store.gifs.use(used.gif_id, NOW) == used
    assert await store.gifs.use(again.gif_id, NOW) == again


async def test_a_use_by_a_clock_that_is_behind_takes_no_time_away(store: Store) -> None:
    gif = await put(store, b"x", now=NOW + 2 * HOUR)
    await store.gifs.use(gif.gif_id, NOW)
    assert await store.sweep(NOW + HOUR) == 0


async def test_a_gif_can_come_back_after_it_went(store: Store) -> None:
    await put(store, b"x")
    await store.sweep(NOW + HOUR)
    gif = await put(store, b"x", now=NOW + 2 * HOUR)
    assert await content(await store.gifs.open(gif.gif_id, "gif")) == b"x"
    assert await store.files() == 2


async def test_putting_and_sweeping_at_once_leaves_whole_gifs_only(store: Store) -> None:
    datas = [bytes([number]) * 10 for number in range(10)]
    for data in datas:
        await put(store, data)
    later = NOW + 2 * HOUR
    await asyncio.gather(*(put(store, data, now=later) for data in datas), *(store.sweep(NOW + HOUR) for _ in range(3)))
    for data in datas:
        assert await content(await store.gifs.open(gif_of(data).gif_id, "gif")) == data
    assert await store.files() == 20
