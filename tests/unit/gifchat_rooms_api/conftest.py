"""One room with its log, written through the group commit."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from gifchat_contracts.codec import Frame
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import GifId, RoomId
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits
from gifchat_rooms_api.domain.gif import Format, StoredGif
from gifchat_rooms_api.domain.message import payload_of
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import BlobId, BlobRef, GifRecord, Rate
from gifchat_rooms_api.use_cases.delete_message import DeleteMessage
from gifchat_rooms_api.use_cases.group_commit import GroupCommit
from gifchat_rooms_api.use_cases.post_message import PostMessage, per_user
from gifchat_rooms_api.use_cases.post_notice import PostNotice
from gifchat_testkit.fakes.gif_addresses import FakeGifAddresses
from gifchat_testkit.fakes.gifs import FakeGifs
from gifchat_testkit.fakes.message_log import FakeMessageLog
from gifchat_testkit.fakes.rooms import room_of

ROOM = RoomId("65f0c0ffee0123456789abcd")
OWNER, ANNE = Identity.of_session("owner"), Identity.of_session("anne")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
GIF = StoredGif(GifId("ab" * 32), Format.GIF, 5, 320, 240, 12)


def anyone(room: Room, now: datetime) -> None:
    """A rule that allows everything."""


class World:
    """The use cases that write a room's log, on fakes."""

    def __init__(self) -> None:
        self.room: Room | None = room_of(ROOM, owner_id=OWNER.user_id)
        self.log = FakeMessageLog({ROOM: self.room.epoch})
        self.gifs = FakeGifs()
        self.published: list[Frame] = []
        self.now_s = 0.0
        self._ids = count(1)
        commit = GroupCommit(self, self.log, self, lambda: NOW)
        limits = LocalRateLimits(lambda: self.now_s)
        self.gif_addresses = FakeGifAddresses(self.gifs)
        self.post_message = PostMessage(
            commit,
            self.gifs,
            self.gif_addresses,
            limits,
            clock=lambda: NOW,
            new_entry_id=self._new_id,
            per_user=per_user(20.0, 150),
            per_room_and_address=Rate("room-address", burst=12, refill_s=0.5),
        )
        self.delete_message = DeleteMessage(self, self.log, commit, self._new_id)
        self.post_notice = PostNotice(commit, self._new_id)

    async def get(self, room_id: RoomId) -> Room | None:
        return self.room if room_id == ROOM else None

    def publish(self, channel: str, frame: Frame) -> None:
        self.published.append(frame)

    @property
    def events(self) -> list[tuple[str, object]]:
        assert self.room
        return [(entry.draft.fact.event, payload_of(ROOM, self.room.epoch, entry)) for entry in self.log.entries[ROOM]]

    def _new_id(self) -> str:
        return f"{next(self._ids):024x}"


@pytest.fixture
async def world() -> World:
    """A room in which Anne can post the GIF."""
    world = World()
    ref = BlobRef(BlobId("0" * 24), GIF.size, GIF.gif_id)
    await world.gifs.add(GifRecord(GIF, ref, ref), NOW)
    await world.gif_addresses.add_upload(ROOM, ANNE.user_id, GIF.gif_id, NOW + timedelta(hours=1))
    return world
