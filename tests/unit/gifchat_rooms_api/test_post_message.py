import json

import pytest

from gifchat_contracts import errors
from gifchat_contracts.codec import Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId, RoomId
from gifchat_rooms_api.ports import Rate
from gifchat_rooms_api.use_cases.post_message import per_room_and_address, per_user

from .conftest import ANNE, GIF, NOW, OWNER, ROOM, World, anyone


async def test_the_reply_to_a_post_is_the_event_that_readers_get(world: World) -> None:
    text = json.loads(await world.post_message.post_text(ROOM, ANNE, "k1", "안녕", anyone))
    gif = json.loads(await world.post_message.post_gif(ROOM, ANNE, "k2", GIF.gif_id, anyone))
    assert world.events == [("chat", text), ("chat", gif)]
    assert (text["chat"], text["user"], text["seq"]) == ("안녕", ANNE.color, 1)
    assert (gif["gif"], gif["gif_info"]["width"]) == (f"{ROOM}/{GIF.file}", 320)
    assert [frame.kind for frame in world.published] == [Kind.CHAT, Kind.CHAT]


async def test_a_retry_returns_the_first_reply_even_with_another_content(world: World) -> None:
    first = await world.post_message.post_text(ROOM, ANNE, "k1", "first", anyone)
    assert await world.post_message.post_text(ROOM, ANNE, "k1", "second", anyone) == first
    assert await world.post_message.post_gif(ROOM, ANNE, "k1", GIF.gif_id, anyone) == first
    assert len(world.events) == 1


async def test_the_rate_limit_stops_only_the_user_who_floods(world: World) -> None:
    for number in range(world.post_message.per_user.burst):
        await world.post_message.post_text(ROOM, ANNE, f"k{number}", "again", anyone)
    with pytest.raises(Refused) as refusal:
        await world.post_message.post_text(ROOM, ANNE, "one more", "again", anyone)
    assert refusal.value.code is errors.RATE_LIMITED
    await world.post_message.post_text(ROOM, OWNER, "k", "hello", anyone)
    world.now_s += world.post_message.per_user.refill_s
    await world.post_message.post_text(ROOM, ANNE, "one more", "again", anyone)


async def test_an_address_has_one_budget_in_each_room(world: World) -> None:
    rate = world.post_message.per_room_and_address
    for _ in range(rate.burst):
        await world.post_message.charge(ROOM, "203.0.113.7")
    with pytest.raises(Refused) as refusal:
        await world.post_message.charge(ROOM, "203.0.113.7")
    assert refusal.value.code is errors.RATE_LIMITED
    assert refusal.value.retry_after_s == pytest.approx(rate.refill_s)
    await world.post_message.charge(ROOM, "203.0.113.8")
    await world.post_message.charge(RoomId("0" * 24), "203.0.113.7")
    world.now_s += rate.refill_s
    await world.post_message.charge(ROOM, "203.0.113.7")


def test_the_rates_come_from_the_settings() -> None:
    assert per_user(20.0, 150) == Rate("message-user", burst=150, refill_s=0.05)
    assert per_room_and_address(20.0, 60) == Rate("message-room-address", burst=60, refill_s=0.05)


async def test_a_bad_text_and_a_missing_gif_are_not_stored(world: World) -> None:
    with pytest.raises(Refused) as refused:
        await world.post_message.post_text(ROOM, ANNE, "k1", " ", anyone)
    assert refused.value.code is errors.TEXT_EMPTY
    with pytest.raises(Refused) as refused:
        await world.post_message.post_gif(ROOM, ANNE, "k1", GifId("cd" * 32), anyone)
    assert refused.value.code is errors.GIF_NOT_FOUND
    assert world.log.entries == {}


async def test_a_gif_that_neither_a_message_shows_nor_the_sender_uploaded_cannot_be_posted(world: World) -> None:
    with pytest.raises(Refused) as refused:
        await world.post_message.post_gif(ROOM, OWNER, "k1", GIF.gif_id, anyone)
    assert refused.value.code is errors.GIF_NOT_FOUND
    world.gif_addresses.shown.add((ROOM, GIF.gif_id))
    assert json.loads(await world.post_message.post_gif(ROOM, OWNER, "k1", GIF.gif_id, anyone))["seq"] == 1


async def test_posting_a_gif_marks_it_as_used(world: World) -> None:
    (record,) = await world.gifs.unreferenced(NOW.replace(year=2027), NOW)
    assert await world.gifs.remove(record, NOW.replace(year=2027))
    await world.gifs.add(record, NOW.replace(year=2025))
    await world.post_message.post_gif(ROOM, ANNE, "k1", GIF.gif_id, anyone)
    assert await world.gifs.unreferenced(NOW, NOW) == []
