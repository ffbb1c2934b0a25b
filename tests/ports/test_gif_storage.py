"""`ports.Gifs` and `ports.BlobStore` together: records and blobs stay consistent through races and crashes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.adapters import mongo_blobs, mongo_gifs
from gifchat_rooms_api.adapters.mongo_blobs import MongoBlobs
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifs
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits
from gifchat_rooms_api.domain.gif import IN_FLIGHT_MAX, Picture, StoredGif, examine, stored_gif
from gifchat_rooms_api.ports import Blob, BlobId, BlobStore, DecodedPicture, Gifs, Rate
from gifchat_rooms_api.use_cases.open_gif import GifFile, OpenGif
from gifchat_rooms_api.use_cases.remove_unreferenced_gifs import RemoveUnreferencedGifs
from gifchat_rooms_api.use_cases.upload_gif import UploadGif, UploadRates
from gifchat_testkit.fakes.blobs import FakeBlobs
from gifchat_testkit.fakes.gif_addresses import FakeGifAddresses
from gifchat_testkit.fakes.gifs import FakeGifs
from gifchat_testkit.pictures import picture

ROOM = RoomId("65f0c0ffee0123456789abcd")
STILL = b"the still"
TTL_S = 3_600.0
UPLOAD_STEPS, REMOVAL_STEPS = 6, 6
"""An upload and a removal make at most this many calls to the ports."""


class DiedError(Exception):
    """The process died during this call."""


@dataclass
class Life:
    """A process that completes `steps` calls to the ports and dies during the next one."""

    steps: int = 1_000_000
    reply_lost: bool = False
    """Whether the last call takes effect before the process dies."""

    async def call(self, run: Callable[[], Awaitable[Any]]) -> Any:
        if self.steps == 0:
            if self.reply_lost:
                await run()
            raise DiedError
        self.steps -= 1
        return await run()


class Mortal:
    """A port whose caller may die at any call."""

    def __init__(self, port: object, life: Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._port, name)

        async def call(*arguments: object) -> Any:
            return await self._life.call(lambda: method(*arguments))

        return call


class StillDecoder:
    """`ports.GifDecoder` that returns a fixed still."""

    async def decode(self, picture: Picture, address: str) -> DecodedPicture:
        return DecodedPicture(STILL, None)


@dataclass
class Storage:
    gifs: Gifs
    blobs: BlobStore
    count_blobs: Callable[[], Awaitable[int]]
    now: datetime = field(default_factory=lambda: datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))

    async def upload(self, data: bytes, life: Life | None = None) -> StoredGif:
        life = life or Life()
        gifs: Any = Mortal(self.gifs, life)
        blobs: Any = Mortal(self.blobs, life)
        upload = UploadGif(
            gifs=gifs,
            blobs=blobs,
            decoder=StillDecoder(),
            rate_limits=LocalRateLimits(),
            rates=UploadRates(
                *(Rate(name, 1_000, 1.0) for name in ("user", "address", "decode-user", "decode-address"))
            ),
            clock=lambda: self.now,
            new_blob_id=lambda: BlobId(str(ObjectId())),
        )
        return await upload.upload(data, UserId("anne"), "192.0.2.1")

    async def sweep(self, ttl_s: float = TTL_S, life: Life | None = None) -> int:
        life = life or Life()
        gifs: Any = Mortal(self.gifs, life)
        blobs: Any = Mortal(self.blobs, life)
        return await RemoveUnreferencedGifs(gifs, blobs, lambda: self.now, ttl_s).remove()

    async def open(self, gif_id: GifId, extension: str) -> tuple[GifFile, Blob] | None:
        addresses = FakeGifAddresses(self.gifs)
        addresses.rooms.add(ROOM)
        addresses.shown.add((ROOM, gif_id))
        open_gif = OpenGif(addresses, self.blobs, lambda: self.now)
        try:
            file = await open_gif.find(ROOM, gif_id, extension)
            return file, await open_gif.open(file)
        except Refused as refused:
            if refused.code is errors.GIF_NOT_FOUND:
                return None
            raise

    async def content(self, gif_id: GifId, extension: str) -> bytes:
        opened = await self.open(gif_id, extension)
        assert opened is not None
        file, blob = opened
        return b"".join([piece async for piece in blob.read(0, file.ref.size)])

    async def check_not_dangling(self, gif_id: GifId) -> None:
        record = await self.gifs.get(gif_id)
        if record is not None:
            assert [await self.blobs.open(blob_id) is not None for blob_id in record.blob_ids] == [True, True]

    def forward(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture(params=["fake", pytest.param("mongo", marks=pytest.mark.servers)])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    if request.param == "fake":
        fake = FakeBlobs()

        async def count_in_fake() -> int:
            return len(fake.blobs)

        yield Storage(FakeGifs(), fake, count_in_fake)
        return
    mongo_url, database = request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_database")
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        gifs = MongoGifs(client, database)
        await gifs.create_indexes()

        async def count_in_mongo() -> int:
            files = await client[database]["gif_files.files"].distinct("_id")
            chunks = await client[database]["gif_files.chunks"].distinct("files_id")
            assert set(files) == set(chunks), "every file has chunks, and no chunk is orphaned"
            return len(files)

        yield Storage(gifs, MongoBlobs(client, database), count_in_mongo)


GIF = picture("gif", 12, 10, 3)
GIF_ID = stored_gif(examine(GIF)).gif_id


async def test_an_uploaded_gif_and_its_still_can_be_opened(storage: Storage) -> None:
    gif = await storage.upload(GIF)
    file, still = await storage.open(gif.gif_id, "gif"), await storage.open(gif.gif_id, "still.png")
    assert file is not None
    assert still is not None
    assert (file[0].content_type, file[0].ref.size, file[0].ref.digest) == ("image/gif", gif.size, gif.gif_id)
    assert (still[0].content_type, still[0].ref.size) == ("image/png", len(STILL))
    assert examine(await storage.content(gif.gif_id, "gif")).data == examine(GIF).data
    assert await storage.content(gif.gif_id, "still.png") == STILL


@pytest.mark.parametrize("extension", ["gif", "png", "jpg", "webp"])
async def test_a_gif_opens_only_under_the_extension_of_its_format(storage: Storage, extension: str) -> None:
    gif = await storage.upload(picture(extension, 12, 10))
    found = {each for each in ("gif", "png", "jpg", "webp", "") if await storage.open(gif.gif_id, each)}
    assert found == {extension}


async def test_a_missing_gif_is_not_found(storage: Storage) -> None:
    for extension in ("gif", "still.png"):
        assert await storage.open(GifId("ab" * 32), extension) is None


async def test_concurrent_uploads_of_a_gif_store_it_once(storage: Storage) -> None:
    await asyncio.gather(*(storage.upload(GIF) for _ in range(8)))
    await storage.upload(GIF)
    await storage.upload(picture("gif", 13, 10, 3))
    assert await storage.count_blobs() == 4
    assert await storage.content(GIF_ID, "still.png") == STILL


async def test_an_unreferenced_gif_is_removed_with_its_blobs_and_can_come_back(storage: Storage) -> None:
    await storage.upload(GIF)
    storage.forward(timedelta(seconds=TTL_S))
    assert await storage.sweep() == 0
    storage.forward(timedelta(seconds=1))
    assert await storage.sweep() == 1
    assert await storage.open(GIF_ID, "gif") is None
    assert await storage.open(GIF_ID, "still.png") is None
    assert await storage.count_blobs() == 0
    assert await storage.sweep() == 0
    await storage.upload(GIF)
    assert await storage.content(GIF_ID, "still.png") == STILL
    assert await storage.count_blobs() == 2


async def test_concurrent_uploads_and_sweeps_leave_only_complete_gifs(storage: Storage) -> None:
    pictures = [picture("gif", 10 + number, 10, 2) for number in range(10)]
    ids = [(await storage.upload(each)).gif_id for each in pictures]
    storage.forward(timedelta(seconds=2 * TTL_S))
    await asyncio.gather(*map(storage.upload, pictures), *(storage.sweep() for _ in range(3)))
    for each, gif_id in zip(pictures, ids, strict=True):
        await storage.upload(each)
        assert await storage.content(gif_id, "still.png") == STILL
        await storage.content(gif_id, "gif")
    assert await storage.count_blobs() == 20


@pytest.mark.parametrize("reply_lost", [False, True])
@pytest.mark.parametrize("steps", range(UPLOAD_STEPS))
async def test_an_upload_that_dies_leaves_no_dangling_record_and_no_orphaned_blob(
    storage: Storage, steps: int, reply_lost: bool
) -> None:
    with pytest.raises(DiedError):
        await storage.upload(GIF, Life(steps, reply_lost))
    await storage.check_not_dangling(GIF_ID)
    begun = await storage.count_blobs()
    storage.forward(IN_FLIGHT_MAX)
    await storage.sweep()
    assert await storage.count_blobs() == begun, "the upload may still be in flight"
    storage.forward(timedelta(seconds=1))
    await storage.sweep()
    await storage.check_not_dangling(GIF_ID)
    assert await storage.count_blobs() == (0 if await storage.gifs.get(GIF_ID) is None else 2)


@pytest.mark.parametrize("steps", range(UPLOAD_STEPS))
async def test_cleaning_up_after_a_dead_upload_spares_the_next_upload(storage: Storage, steps: int) -> None:
    with pytest.raises(DiedError):
        await storage.upload(GIF, Life(steps))
    await storage.upload(GIF)
    storage.forward(2 * IN_FLIGHT_MAX)
    await storage.sweep()
    assert await storage.content(GIF_ID, "still.png") == STILL
    assert await storage.count_blobs() == 2


@pytest.mark.parametrize("reply_lost", [False, True])
@pytest.mark.parametrize("steps", range(REMOVAL_STEPS))
async def test_a_removal_that_dies_leaves_no_dangling_record_and_is_finished_later(
    storage: Storage, steps: int, reply_lost: bool
) -> None:
    await storage.upload(GIF)
    storage.forward(timedelta(seconds=2 * TTL_S))
    with pytest.raises(DiedError):
        await storage.sweep(life=Life(steps, reply_lost))
    record = await storage.gifs.get(GIF_ID)
    if record is not None:
        await storage.check_not_dangling(GIF_ID)
    storage.forward(2 * IN_FLIGHT_MAX)
    await storage.sweep()
    assert await storage.gifs.get(GIF_ID) is None
    assert await storage.count_blobs() == 0
    assert await storage.gifs.stale_pending(storage.now + timedelta(hours=1)) == []


def test_an_upload_times_out_before_a_sweep_removes_its_blobs() -> None:
    upload_s = 2 * mongo_gifs.TIMEOUT_S + 2 * mongo_blobs.PUT_TIMEOUT_S
    assert timedelta(seconds=upload_s) < IN_FLIGHT_MAX
