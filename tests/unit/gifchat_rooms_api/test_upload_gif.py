"""Uploads: what they cost, and what happens if the client leaves."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import pytest
from starlette.requests import Request
from starlette.types import Message

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits
from gifchat_rooms_api.domain.gif import Picture
from gifchat_rooms_api.http.abandoned import while_connected
from gifchat_rooms_api.ports import BlobId, DecodedPicture, Rate
from gifchat_rooms_api.use_cases.upload_gif import UploadGif, UploadRates
from gifchat_testkit.fakes.blobs import FakeBlobs
from gifchat_testkit.fakes.gifs import FakeGifs
from gifchat_testkit.pictures import picture

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DEADLINE_S = 10.0
ANNE, BOB = UserId("anne"), UserId("bob")
HERE, THERE = "192.0.2.1", "192.0.2.2"


class FakeDecoder:
    """`ports.GifDecoder` that decodes nothing, and answers when the test allows it."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_asked = asyncio.Event()
        self.stopped = 0

    async def decode(self, picture: Picture, address: str) -> DecodedPicture:
        self.addresses.append(address)
        self.is_asked.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        return DecodedPicture(b"still", None)


class Site:
    def __init__(self, per_user: int = 100, per_address: int = 1_000) -> None:
        self.gifs, self.blobs, self.decoder = FakeGifs(), FakeBlobs(), FakeDecoder()
        numbers: Iterator[int] = count()
        rates = UploadRates(
            Rate("upload-user", 3, 1.0),
            Rate("upload-address", 5, 1.0),
            Rate("decode-user", per_user, 1.0),
            Rate("decode-address", per_address, 1.0),
        )
        self.use_case = UploadGif(
            gifs=self.gifs,
            blobs=self.blobs,
            decoder=self.decoder,
            rate_limits=LocalRateLimits(clock=lambda: 0.0),
            rates=rates,
            clock=lambda: NOW,
            new_blob_id=lambda: BlobId(f"{next(numbers):024x}"),
        )


async def code_of(site: Site, data: bytes, user: UserId = ANNE, address: str = HERE) -> errors.ErrorCode | None:
    try:
        await site.use_case.upload(data, user, address)
    except Refused as refused:
        return refused.code if refused.retry_after_s else None
    return None


def megapixels(number: int, frames: int = 1) -> bytes:
    """Create a picture of `frames` megapixels that differs from all others."""
    return picture("gif", 1_000, 1_000 - number, frames)


async def test_a_user_may_upload_as_many_pixels_as_the_limit_says() -> None:
    site = Site(per_user=5)
    assert [await code_of(site, megapixels(number, frames=2)) for number in range(3)] == [
        None,
        None,
        errors.RATE_LIMITED,
    ]
    assert await code_of(site, megapixels(3)) is None, "a smaller picture still fits"
    assert await code_of(site, megapixels(4), BOB) is None
    assert await code_of(site, megapixels(0, frames=2)) is None, "a stored picture costs nothing"


async def test_all_users_of_an_address_share_its_pixels() -> None:
    site = Site(per_address=3)
    assert await code_of(site, megapixels(0, frames=3), ANNE) is None
    assert await code_of(site, megapixels(1), BOB) is errors.RATE_LIMITED
    assert await code_of(site, megapixels(1), BOB, THERE) is None
    assert site.decoder.addresses == [HERE, THERE]


async def test_a_picture_that_costs_more_than_the_limit_is_decoded_once_the_bucket_is_full() -> None:
    site = Site(per_user=2)
    assert await code_of(site, megapixels(0, frames=4)) is None
    assert await code_of(site, megapixels(1)) is errors.RATE_LIMITED


class Client:
    """A client that has sent its body, and may leave."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    @property
    def request(self) -> Request:
        return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, self.receive)


async def test_an_abandoned_upload_is_not_stored() -> None:
    site, client = Site(), Client()
    site.decoder.may_answer.clear()
    upload = site.use_case.upload(picture("gif"), ANNE, HERE)
    answer = asyncio.ensure_future(while_connected(client.request, upload))
    async with asyncio.timeout(DEADLINE_S):
        await site.decoder.is_asked.wait()
        client.leaves.set()
        with pytest.raises(Refused):
            await answer
    assert site.decoder.stopped == 1
    assert site.blobs.blobs == {}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_upload_whose_client_waits_is_stored() -> None:
    site, client = Site(), Client()
    async with asyncio.timeout(DEADLINE_S):
        stored = await while_connected(client.request, site.use_case.upload(picture("gif"), ANNE, HERE))
    assert await site.gifs.get(stored.gif_id) is not None
    assert len(site.blobs.blobs) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_request_cancels_its_work() -> None:
    site, client = Site(), Client()
    site.decoder.may_answer.clear()
    answer = asyncio.ensure_future(
        while_connected(client.request, site.use_case.upload(picture("gif"), ANNE, HERE)),
    )
    async with asyncio.timeout(DEADLINE_S):
        await site.decoder.is_asked.wait()
        answer.cancel()
        await asyncio.wait({answer})
    assert answer.cancelled()
    assert site.decoder.stopped == 1


async def test_uploads_are_counted_for_each_user_and_each_address() -> None:
    site = Site()

    async def counted(user: str, address: str) -> bool:
        try:
            await site.use_case.count(UserId(user), address)
        except Refused as refused:
            return refused.code is not errors.RATE_LIMITED
        return True

    assert [await counted("anne", HERE) for _ in range(4)] == [True, True, True, False]
    assert [await counted("bob", HERE) for _ in range(3)] == [True, True, False]
    assert await counted("carol", "192.0.2.77")
