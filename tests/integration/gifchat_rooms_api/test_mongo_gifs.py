"""What a process that died in the middle of a put or a removal leaves behind."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from gifchat_contracts.ids import GifId
from gifchat_rooms_api.adapters import mongo_gifs
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifs
from gifchat_rooms_api.adapters.mongo_messages import INDEXES
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.ports import StoreUnavailableError

pytestmark = pytest.mark.servers

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
DATA = b"GIF89a" * 100
GIF = StoredGif(GifId(sha256(DATA).hexdigest()), Format.GIF, len(DATA), 1, 1, 1)


class DiedError(Exception):
    """The process ends here."""


@pytest.fixture
async def client(mongo_url: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        yield client


@pytest.fixture
def database(client: AsyncMongoClient[dict[str, Any]], mongo_database: str) -> AsyncDatabase[dict[str, Any]]:
    return client[mongo_database]


@pytest.fixture
async def gifs(client: AsyncMongoClient[dict[str, Any]], mongo_database: str) -> MongoGifs:
    store = MongoGifs(client, mongo_database)
    await store.create_indexes()
    return store


async def kept(database: AsyncDatabase[dict[str, Any]]) -> dict[str, int]:
    names = ("gifs", "gif_leftovers", "gif_files.files", "gif_files.chunks")
    return {name: await database[name].count_documents({}) for name in names}


NOTHING = {"gifs": 0, "gif_leftovers": 0, "gif_files.files": 0, "gif_files.chunks": 0}
ONE_GIF = {"gifs": 1, "gif_leftovers": 0, "gif_files.files": 2, "gif_files.chunks": 2}


async def put_and_die(gifs: MongoGifs, monkeypatch: pytest.MonkeyPatch) -> None:
    async def die(*_args: object, **_options: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(gifs._gifs, "find_one_and_update", die)
        with pytest.raises(DiedError):
            await gifs.put(GIF, DATA, b"still", NOW)


async def test_a_put_that_died_is_cleared_away_once_it_is_no_longer_in_flight(
    gifs: MongoGifs, database: AsyncDatabase[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_and_die(gifs, monkeypatch)
    assert await gifs.open(GIF.gif_id, "gif") is None
    begun = await kept(database)
    await gifs.remove_unreferenced(NOW, NOW, LATER)
    assert await kept(database) == begun, "it may still be going on"
    await gifs.remove_unreferenced(LATER, LATER, LATER)
    assert await kept(database) == NOTHING


async def test_what_is_left_of_one_put_takes_nothing_from_the_next(
    gifs: MongoGifs, database: AsyncDatabase[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_and_die(gifs, monkeypatch)
    await gifs.put(GIF, DATA, b"still", LATER)
    await gifs.remove_unreferenced(LATER, LATER, LATER)
    assert await kept(database) == ONE_GIF
    assert await gifs.open(GIF.gif_id, "gif") is not None


async def test_a_removal_that_died_is_finished(
    gifs: MongoGifs, database: AsyncDatabase[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_args: object) -> None:
        raise DiedError

    await gifs.put(GIF, DATA, b"still", NOW)
    with monkeypatch.context() as patch:
        patch.setattr(gifs, "_delete_files", die)
        with pytest.raises(DiedError):
            await gifs.remove_unreferenced(LATER, LATER, LATER)
    assert await gifs.open(GIF.gif_id, "gif") is None
    later = LATER + timedelta(hours=1)
    await gifs.remove_unreferenced(later, later, later)
    assert await kept(database) == NOTHING


async def test_a_file_that_lost_its_chunks_is_unavailable_and_never_short(
    gifs: MongoGifs, database: AsyncDatabase[dict[str, Any]]
) -> None:
    await gifs.put(GIF, DATA, b"still", NOW)
    file = await gifs.open(GIF.gif_id, "gif")
    assert file is not None
    await database["gif_files.chunks"].delete_many({})
    with pytest.raises(StoreUnavailableError):
        async for _ in file.read(0, file.size):
            pass


async def test_the_message_that_shows_a_gif_is_found_by_an_index(
    gifs: MongoGifs, database: AsyncDatabase[dict[str, Any]]
) -> None:
    await database["messages"].create_indexes(INDEXES)
    plan = await database["messages"].find({"gif.id": GIF.gif_id}).explain()
    assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])


async def test_without_mongodb_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_gifs, "_TIMEOUT_S", 0.1)
    async with AsyncMongoClient[dict[str, Any]]("mongodb://127.0.0.1:1/?replicaSet=rs0") as client:
        with pytest.raises(StoreUnavailableError):
            await MongoGifs(client, "none").use(GIF.gif_id, NOW)
