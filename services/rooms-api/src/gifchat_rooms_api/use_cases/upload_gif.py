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

_MEGAPIXEL = 1_000_000


@dataclass(frozen=True, slots=True)
class UploadRates:
    """How much may be uploaded.

    Decoding is the most expensive work that a stranger can request, and all users share its queue.
    """

    uploads_per_user: Rate
    uploads_per_address: Rate
    megapixels_per_user: Rate
    """A token is a megapixel to decode. Pictures that are already stored cost nothing."""
    megapixels_per_address: Rate


@dataclass(frozen=True, slots=True)
class UploadGif:
    """Stores each GIF once, however often it is uploaded."""

    gifs: Gifs
    blobs: BlobStore
    decoder: GifDecoder
    rate_limits: RateLimits
    rates: UploadRates
    clock: Callable[[], datetime]
    new_blob_id: Callable[[], BlobId]

    async def count(self, user_id: UserId, address: str) -> None:
        """Count an upload against the limits, before its body is read.

        Raises:
            Refused: `RATE_LIMITED`.
        """
        await self._take(self.rates.uploads_per_user, user_id)
        await self._take(self.rates.uploads_per_address, address)

    async def upload(self, data: bytes, user_id: UserId, address: str) -> StoredGif:
        """Check, repair and store the uploaded bytes. If the GIF is already stored, mark that copy as used.

        If the caller is cancelled, nothing is stored, or the next sweep removes it.

        Raises:
            Refused: `GIF_WRONG_TYPE`, `GIF_TOO_MANY_PIXELS`, `GIF_BROKEN`, `RATE_LIMITED`, `UNAVAILABLE`.
            StoreUnavailableError: the GIF may be stored; uploading it again is safe.
        """
        picture = await asyncio.to_thread(examine, data)
        gif = stored_gif(picture)
        if picture.is_final and (known := await self.gifs.use(gif.gif_id, self.clock())):
            return known
        megapixels = -(-picture.decoded_pixels // _MEGAPIXEL)
        await self._take(self.rates.megapixels_per_user, user_id, megapixels)
        await self._take(self.rates.megapixels_per_address, address, megapixels)
        decoded = await self.decoder.decode(picture, address)
        if decoded.repaired is not None:
            picture = await asyncio.to_thread(examine, decoded.repaired)
            gif = stored_gif(picture)
        await self._store(gif, picture.data, decoded.still)
        return gif

    async def _take(self, rate: Rate, subject: str, tokens: int = 1) -> None:
        wait_s = await self.rate_limits.take(rate, subject, tokens)
        if wait_s > 0:
            raise Refused(errors.RATE_LIMITED, wait_s)

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
