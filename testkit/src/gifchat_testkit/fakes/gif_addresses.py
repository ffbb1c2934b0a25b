"""`gifchat_rooms_api.ports.GifAddresses` in memory."""

from datetime import datetime

from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_rooms_api.ports import GifAddress, Gifs


class FakeGifAddresses:
    """Keeps in sets what MongoDB reads from the rooms and their logs."""

    def __init__(self, gifs: Gifs) -> None:
        self.rooms: set[RoomId] = set()
        """The rooms that exist."""
        self.shown: set[tuple[RoomId, GifId]] = set()
        """The GIFs that a message shows, by room."""
        self.deleted: set[tuple[RoomId, GifId]] = set()
        """The GIFs of deleted messages, by room."""
        self._gifs = gifs
        self._uploads: dict[tuple[RoomId, UserId, GifId], datetime] = {}

    async def find(self, room_id: RoomId, gif_id: GifId, now: datetime) -> GifAddress | None:
        """See the port."""
        record = await self._gifs.get(gif_id)
        if record is None or room_id not in self.rooms:
            return None
        if (room_id, gif_id) in self.shown:
            return GifAddress(record, shown=True)
        uploaded = any(
            (room, gif) == (room_id, gif_id) and now < until for (room, _, gif), until in self._uploads.items()
        )
        if uploaded and (room_id, gif_id) not in self.deleted:
            return GifAddress(record, shown=False)
        return None

    async def add_upload(self, room_id: RoomId, user_id: UserId, gif_id: GifId, until: datetime) -> None:
        """See the port."""
        self._uploads[room_id, user_id, gif_id] = until

    async def may_post(self, user_id: UserId, gif_id: GifId, now: datetime) -> bool:
        """See the port."""
        uploaded = any(
            (user, gif) == (user_id, gif_id) and now < until for (_, user, gif), until in self._uploads.items()
        )
        return uploaded or any(gif == gif_id for _, gif in self.shown)
