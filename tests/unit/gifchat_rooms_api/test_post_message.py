import asyncio
from datetime import UTC, datetime
from itertools import count

import pytest

from gifchat_contracts import errors
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits
from gifchat_rooms_api.domain.message import BadTextError, Gif, event_of, payload_of
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.use_cases.group_commit import GroupCommit
from gifchat_rooms_api.use_cases.post_message import MESSAGES_OF_USER, Messages
from gifchat_testkit.fakes.message_log import FakeMessageLog, ReplyLost, Unreachable
from gifchat_testkit.fakes.rooms import room_of

ROOM = RoomId("65f0c0ffee0123456789abcd")
OWNER, ANNE = Identity.of_session("owner"), Identity.of_session("anne")
GIF = Gif(GifId("ab" * 32), f"{'ab' * 32}.gif", 320, 240)


def anyone(room: Room, now: datetime) -> None:
    """The rule that allows everything."""


class World:
    def __init__(self) -> None:
        self.room: Room | None = room_of(ROOM, owner_id=OWNER.user_id)
        self.log = FakeMessageLog({ROOM: self.room.epoch})
        self.published: list[Frame] = []
        ids = count(1)
        commit = GroupCommit(self, self.log, self, lambda: datetime(2026, 1, 2, tzinfo=UTC))
        self.now_s = 0.0
        limits = LocalRateLimits(lambda: self.now_s)
        self.messages = Messages(
            self,
            commit,
            self.log,
            find_gif=self.find_gif,
            new_entry_id=lambda: f"{next(ids):024x}",
            rate_limits=limits,
        )

    async def get(self, room_id: RoomId) -> Room | None:
        return self.room

    async def find_gif(self, gif_id: GifId) -> Gif | None:
        return GIF if gif_id == GIF.gif_id else None

    def publish(self, channel: str, frame: Frame) -> None:
        self.published.append(frame)

    @property
    def events(self) -> list[tuple[str, object]]:
        assert self.room
        return [(event_of(entry), payload_of(ROOM, self.room.epoch, entry)) for entry in self.log.entries[ROOM]]


@pytest.fixture
def world() -> World:
    return World()


async def test_the_reply_to_a_post_is_the_event_that_readers_get(world: World) -> None:
    text = await world.messages.post_text(ROOM, ANNE, "k1", "안녕", anyone)
    gif = await world.messages.post_gif(ROOM, ANNE, "k2", GIF.gif_id, anyone)
    assert world.events == [("chat", text), ("chat", gif)]
    assert (text["chat"], text["user"], text["seq"]) == ("안녕", ANNE.color, 1)
    assert (gif["gif"], gif["gif_info"]["width"]) == (GIF.file, 320)
    assert [frame.kind for frame in world.published] == [Kind.CHAT, Kind.CHAT]


async def test_a_retry_gets_the_first_reply_whatever_it_says_now(world: World) -> None:
    first = await world.messages.post_text(ROOM, ANNE, "k1", "first", anyone)
    assert await world.messages.post_text(ROOM, ANNE, "k1", "second", anyone) == first
    assert await world.messages.post_gif(ROOM, ANNE, "k1", GIF.gif_id, anyone) == first
    assert len(world.events) == 1


async def test_a_flood_of_one_user_is_stopped_and_nobody_elses(world: World) -> None:
    for number in range(MESSAGES_OF_USER.burst):
        await world.messages.post_text(ROOM, ANNE, f"k{number}", "again", anyone)
    with pytest.raises(Refused) as refusal:
        await world.messages.post_text(ROOM, ANNE, "one more", "again", anyone)
    assert refusal.value.code is errors.RATE_LIMITED
    await world.messages.post_text(ROOM, OWNER, "k", "hello", anyone)
    world.now_s += MESSAGES_OF_USER.every_s
    await world.messages.post_text(ROOM, ANNE, "one more", "again", anyone)


async def test_a_bad_text_or_a_gif_that_is_not_there_is_not_written(world: World) -> None:
    with pytest.raises(BadTextError):
        await world.messages.post_text(ROOM, ANNE, "k1", " ", anyone)
    with pytest.raises(Refused) as refused:
        await world.messages.post_gif(ROOM, ANNE, "k1", GifId("cd" * 32), anyone)
    assert refused.value.code is errors.GIF_NOT_FOUND
    assert world.log.entries == {}


async def test_a_deletion_redacts_and_is_an_entry_of_its_own(world: World) -> None:
    posted = await world.messages.post_text(ROOM, ANNE, "k1", "secret", anyone)
    await world.messages.delete(ROOM, OWNER.user_id, 1)
    (chat_event, chat), (deletion_event, deletion) = world.events
    assert (chat_event, deletion_event) == ("chat", "chatDeleted")
    without_text = {name: value for name, value in posted.items() if name != "chat"}
    assert chat == without_text | {"deleted": True}
    assert isinstance(deletion, dict)
    assert (deletion["seq"], deletion["target_seq"], deletion["target_id"]) == (2, 1, posted["_id"])
    assert await world.messages.post_text(ROOM, ANNE, "k1", "secret", anyone) == chat


async def test_deleting_twice_or_at_once_is_one_entry(world: World) -> None:
    await world.messages.post_text(ROOM, ANNE, "k1", "secret", anyone)
    await asyncio.gather(*(world.messages.delete(ROOM, OWNER.user_id, 1) for _ in range(5)))
    await world.messages.delete(ROOM, OWNER.user_id, 1)
    assert [event for event, _ in world.events] == ["chat", "chatDeleted"]


async def test_a_deletion_that_stopped_half_way_is_completed_by_the_next(world: World) -> None:
    await world.messages.post_text(ROOM, ANNE, "k1", "secret", anyone)
    world.log.faults.extend([None, ReplyLost(0)])
    with pytest.raises(Refused) as refused:
        await world.messages.delete(ROOM, OWNER.user_id, 1)
    assert refused.value.code is errors.OUTCOME_UNKNOWN
    await world.messages.delete(ROOM, OWNER.user_id, 1)
    assert [event for event, _ in world.events] == ["chat", "chatDeleted"]


async def test_only_the_owner_deletes_and_only_messages(world: World) -> None:
    await world.messages.post_text(ROOM, ANNE, "k1", "mine", anyone)

    async def code_of_delete(user: Identity, seq: int) -> str:
        with pytest.raises(Refused) as refused:
            await world.messages.delete(ROOM, user.user_id, seq)
        return refused.value.code.code

    assert await code_of_delete(ANNE, 1) == "not_owner"
    assert await code_of_delete(OWNER, 2) == "message_not_found"
    world.log.faults.append(Unreachable())
    assert await code_of_delete(OWNER, 1) == "unavailable"
    assert [event for event, _ in world.events] == ["chat"]
    world.room = None
    assert await code_of_delete(OWNER, 1) == "room_not_found"


async def test_each_notice_is_an_entry(world: World) -> None:
    for slow_mode_s in (30, 30, 0):
        await world.messages.append_notice(ROOM, OWNER.user_id, slow_mode_s)
    assert [event for event, _ in world.events] == ["notice"] * 3
    assert [frame.kind for frame in world.published] == [Kind.NOTICE] * 3
