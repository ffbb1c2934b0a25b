"""MongoDB details of GIF records that the port's suite does not cover."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from gifchat_contracts.ids import GifId
from gifchat_rooms_api.adapters import mongo_gifs
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifs
from gifchat_rooms_api.adapters.mongo_messages import INDEXES
from gifchat_rooms_api.ports import StoreUnavailableError

pytestmark = pytest.mark.servers

GIF_ID = GifId("ab" * 32)


async def test_finding_a_message_that_shows_a_gif_uses_an_index(mongo_url: str, mongo_database: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        messages = client[mongo_database]["messages"]
        await messages.create_indexes(INDEXES)
        plan = await messages.find({"gif.id": GIF_ID}).explain()
    assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])


async def test_gifs_are_unavailable_without_mongodb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_gifs, "TIMEOUT_S", 0.1)
    async with AsyncMongoClient[dict[str, Any]]("mongodb://127.0.0.1:1/?replicaSet=rs0") as client:
        with pytest.raises(StoreUnavailableError):
            await MongoGifs(client, "none").use(GIF_ID, datetime(2026, 1, 2, tzinfo=UTC))
