"""Remove GIFs that no message shows, and blobs that an interrupted upload or removal left behind."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from gifchat_rooms_api.domain.gif import IN_FLIGHT_MAX
from gifchat_rooms_api.ports import BlobStore, GifRecord, Gifs, PendingBlobs

_log = structlog.get_logger(__name__)


class RemoveUnreferencedGifs:
    """Sweeps a bounded number of GIFs at a time, in the order that `ports.Gifs` requires."""

    def __init__(self, gifs: Gifs, blobs: BlobStore, clock: Callable[[], datetime], ttl_s: float) -> None:
        """`ttl_s` is how long an unused GIF stays.

        A post marks its GIF as used before it stores the message. GIFs used within `IN_FLIGHT_MAX` therefore stay,
        whatever `ttl_s` is.
        """
        self._gifs = gifs
        self._blobs = blobs
        self._clock = clock
        self._ttl_s = ttl_s

    async def remove(self) -> int:
        """Sweep once.

        Returns:
            The number of GIFs removed.

        Raises:
            StoreUnavailableError: the sweep is incomplete; the next one continues it.
        """
        now = self._clock()
        in_flight_since = now - IN_FLIGHT_MAX
        unused_since = min(now - timedelta(seconds=self._ttl_s), in_flight_since)
        removed = 0
        for record in await self._gifs.unreferenced(unused_since, now):
            removed += await self._remove(record, unused_since, now)
        for pending in await self._gifs.stale_pending(in_flight_since):
            await self._clean_up(pending)
        if removed:
            _log.info("unreferenced_gifs_removed", gifs=removed)
        return removed

    async def _remove(self, record: GifRecord, unused_since: datetime, now: datetime) -> bool:
        pending_id = await self._gifs.mark_pending(record.gif.gif_id, record.blob_ids, now)
        # A message stored since then has marked the GIF as used first, so this removes nothing.
        removed = await self._gifs.remove(record, unused_since)
        if removed:
            for blob_id in record.blob_ids:
                await self._blobs.delete(blob_id)
        await self._gifs.clear_pending(pending_id)
        return removed

    async def _clean_up(self, pending: PendingBlobs) -> None:
        kept = await self._gifs.get(pending.gif_id)
        for blob_id in pending.blob_ids:
            if kept is None or blob_id not in kept.blob_ids:
                await self._blobs.delete(blob_id)
        await self._gifs.clear_pending(pending.pending_id)
