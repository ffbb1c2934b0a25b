"""Upload a GIF: check it, remove its metadata, make its still, and store it once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import UserId
from gifchat_rooms_api.domain.gif import StoredGif, examine, stored_gif
from gifchat_rooms_api.ports import BlobId, BlobRef, BlobStore, GifDecoder, GifRecord, Gifs, Rate, RateLimits

UPLOADS_PER_USER = Rate("upload-user", burst=20, refill_s=2.0)
UPLOADS_PER_ADDRESS = Rate("upload-address", burst=200, refill_s=0.2)
"""Decoding is the most expensive work that a stranger can request, and all users share its queue."""


@dataclass(frozen=True, slots=True)
class UploadGif:
    """Stores each GIF once, however often it is uploaded."""

    gifs: Gifs
    blobs: BlobStore
    decoder: GifDecoder
    rate_limits: RateLimits
    clock: Callable[[], datetime]
    new_blob_id: Callable[[], BlobId]

    async def count(self, user_id: UserId, address: str) -> None:
        """Count an upload against the limits, before its body is read.

        Raises:
            Refused: `RATE_LIMITED`.
        """
        for rate, subject in ((UPLOADS_PER_USER, user_id), (UPLOADS_PER_ADDRESS, address)):
            wait_s = await self.rate_limits.take(rate, subject)
            if wait_s > 0:
                raise Refused(errors.RATE_LIMITED, wait_s)

    async def upload(self, data: bytes) -> StoredGif:
        """Check and store the uploaded bytes. If the GIF is already stored, keep that copy and mark it as used.

        Raises:
            Refused: `GIF_WRONG_TYPE`, `GIF_TOO_MANY_PIXELS`, `GIF_BROKEN`, `UNAVAILABLE`.
            StoreUnavailableError: the GIF may be stored; uploading it again is safe.
        """
        picture = await asyncio.to_thread(examine, data)
        gif = stored_gif(picture)
        if picture.orientation == 1 and (known := await self.gifs.use(gif.gif_id, self.clock())):
            return known
        decoded = await self.decoder.decode(picture)
        if decoded.upright is not None:
            picture = await asyncio.to_thread(examine, decoded.upright)
            gif = stored_gif(picture)
        await self._store(gif, picture.data, decoded.still)
        return gif

    async def _store(self, gif: StoredGif, data: bytes, still: bytes) -> None:
        """Store blobs and record in the order that `ports.Gifs` requires."""
        now = self.clock()
        record = GifRecord(
            gif,
            file=BlobRef(self.new_blob_id(), len(data), gif.gif_id),
            still=BlobRef(self.new_blob_id(), len(still), sha256(still).hexdigest()),
        )
        pending_id = await self.gifs.mark_pending(gif.gif_id, record.blob_ids, now)
        await self.blobs.put(record.file.blob_id, data)
        await self.blobs.put(record.still.blob_id, still)
        kept = await self.gifs.add(record, now)
        if kept.blob_ids != record.blob_ids:
            for blob_id in record.blob_ids:
                await self.blobs.delete(blob_id)
        await self.gifs.clear_pending(pending_id)
