"""Upload a GIF into a room, so that its uploader can post it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.gif import IN_FLIGHT_MAX, StoredGif
from gifchat_rooms_api.ports import GifAddresses
from gifchat_rooms_api.use_cases.upload_gif import UploadGif


@dataclass(frozen=True, slots=True)
class UploadIntoRoom:
    """Stores a GIF and opens its address in a room until a message shows it."""

    store: UploadGif
    gif_addresses: GifAddresses
    clock: Callable[[], datetime]
    ttl_s: float
    """How long the address of a GIF that no message shows stays valid; at least `IN_FLIGHT_MAX`."""

    async def upload(self, room_id: RoomId, user_id: UserId, address: str, data: bytes) -> StoredGif:
        """Store the uploaded bytes; see `UploadGif.upload`."""
        gif = await self.store.upload(data, user_id, address)
        until = self.clock() + max(timedelta(seconds=self.ttl_s), IN_FLIGHT_MAX)
        await self.gif_addresses.add_upload(room_id, user_id, gif.gif_id, until)
        return gif
