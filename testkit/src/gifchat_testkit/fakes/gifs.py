"""`gifchat_rooms_api.ports.GifStore` in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from gifchat_contracts.ids import GifId
from gifchat_rooms_api.domain.gif import StoredGif
from gifchat_rooms_api.ports import GifFile

PIECE_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class FakeGifFile:
    """`gifchat_rooms_api.ports.GifFile` over bytes."""

    content_type: str
    data: bytes

    @property
    def size(self) -> int:
        """See the port."""
        return len(self.data)

    @property
    def digest(self) -> str:
        """See the port."""
        return sha256(self.data).hexdigest()

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """See the port."""
        for at in range(start, stop, PIECE_BYTES):
            yield self.data[at : min(at + PIECE_BYTES, stop)]


@dataclass(slots=True)
class _Kept:
    gif: StoredGif
    data: bytes
    still: bytes
    last_used_at: datetime


class FakeGifStore:
    """Keeps GIFs in a dictionary; `shown` are those that a message refers to."""

    def __init__(self) -> None:
        self.shown: set[GifId] = set()
        self._kept: dict[GifId, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def use(self, gif_id: GifId, now: datetime) -> StoredGif | None:
        """See the port."""
        kept = self._kept.get(gif_id)
        if kept is None:
            return None
        kept.last_used_at = max(kept.last_used_at, now)
        return kept.gif

    async def put(self, gif: StoredGif, data: bytes, still: bytes, now: datetime) -> None:
        """See the port."""
        if await self.use(gif.gif_id, now) is None:
            self._kept[gif.gif_id] = _Kept(gif, data, still, now)

    async def open(self, gif_id: GifId, extension: str) -> GifFile | None:
        """See the port."""
        kept = self._kept.get(gif_id)
        if kept is None or kept.gif.format.value != extension:
            return None
        return FakeGifFile(kept.gif.format.content_type, kept.data)

    async def open_still(self, gif_id: GifId) -> GifFile | None:
        """See the port."""
        kept = self._kept.get(gif_id)
        return None if kept is None else FakeGifFile("image/png", kept.still)

    async def remove_unreferenced(self, unused_since: datetime, in_flight_since: datetime, now: datetime) -> int:  # noqa: ARG002 - nothing is left behind in memory
        """See the port."""
        unused = [gif_id for gif_id, kept in self._kept.items() if kept.last_used_at < unused_since]
        for gif_id in unused:
            if gif_id in self.shown:
                await self.use(gif_id, now)
            else:
                del self._kept[gif_id]
        return len(set(unused) - self.shown)
