"""MongoDB details of GIF records that the port's suite does not cover."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from gifchat_contracts.ids import GifId, RoomId
from gifchat_rooms_api.adapters import mongo_gifs
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifAddresses, MongoGifs, address_pipeline
from gifchat_rooms_api.adapters.mongo_messages import INDEXES, MongoMessages
from gifchat_rooms_api.ports import StoreUnavailableError

pytestmark = pytest.mark.servers

ROOM = RoomId("65f0c0ffee0123456789abcd")
GIF_ID = GifId("ab" * 32)


async def test_finding_a_message_that_shows_a_gif_uses_an_index(mongo_url: str, mongo_database: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        messages = client[mongo_database]["messages"]
        await messages.create_indexes(INDEXES)
        plan = await messages.find({"gif.id": GIF_ID}).explain()
    assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])


async def test_an_address_is_looked_up_by_indexes_alone(mongo_url: str, mongo_database: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        database = client[mongo_database]
        await MongoMessages(client, mongo_database).create_indexes()
        await MongoGifAddresses(client, mongo_database).create_indexes()
        plans = [
            await database.command("explain", {"aggregate": "rooms", "pipeline": pipeline, "cursor": {}})
            for pipeline in (address_pipeline(ROOM, GIF_ID)[:1],)
        ]
        for stage in address_pipeline(ROOM, GIF_ID)[1:3]:
            inner = stage["$lookup"]
            command = {"aggregate": inner["from"], "pipeline": inner["pipeline"][:1], "cursor": {}}
            plans.append(await database.command("explain", command))
        for query in ({"gif": GIF_ID, "user": "a"}, {"_id": {"$gt": "a", "$lt": "b"}}):
            plans.append(await database["gif_uploads"].find(query).explain())
        deleted = {"room": ROOM, "deleted_gif": GIF_ID}
        plans.append(await database["messages"].find(deleted).explain())
    for plan in plans:
        assert "COLLSCAN" not in str(plan), plan
        assert any(scan in str(plan) for scan in ("IXSCAN", "IDHACK", "EXPRESS", "EOF")), plan


async def test_gifs_are_unavailable_without_mongodb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_gifs, "TIMEOUT_S", 0.1)
    async with AsyncMongoClient[dict[str, Any]]("mongodb://127.0.0.1:1/?replicaSet=rs0") as client:
        with pytest.raises(StoreUnavailableError):
            await MongoGifs(client, "none").use(GIF_ID, datetime(2026, 1, 2, tzinfo=UTC))
