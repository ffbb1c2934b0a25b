"""Remove GIFs that no message shows, and blobs that an interrupted upload or removal left behind."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gifchat_rooms_api.domain.gif import IN_FLIGHT_MAX
from gifchat_rooms_api.ports import BlobStore, GifRecord, Gifs, PendingBlobs

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RemoveUnreferencedGifs:
    """Sweeps a bounded number of GIFs at a time, in the order that `ports.Gifs` requires."""

    gifs: Gifs
    blobs: BlobStore
    clock: Callable[[], datetime]
    ttl_s: float
    """How long an unused GIF stays.

    Shorter times count as `IN_FLIGHT_MAX`, because a post marks its GIF as used before it stores the message.
    """

    async def remove(self) -> int:
        """Sweep once.

        Returns:
            The number of GIFs removed.

        Raises:
            StoreUnavailableError: the sweep is incomplete; the next one continues it.
        """
        now = self.clock()
        in_flight_since = now - IN_FLIGHT_MAX
        unused_since = min(now - timedelta(seconds=self.ttl_s), in_flight_since)
        removed = 0
        for record in await self.gifs.unreferenced(unused_since, now):
            removed += await self._remove(record, unused_since, now)
        for pending in await self.gifs.stale_pending(in_flight_since):
            await self._clean_up(pending)
        if removed:
            _log.info("unreferenced_gifs_removed", gifs=removed)
        return removed

    async def _remove(self, record: GifRecord, unused_since: datetime, now: datetime) -> bool:
        pending_id = await self.gifs.mark_pending(record.gif.gif_id, record.blob_ids, now)
        # If a message was posted in the meantime, it first marked the GIF as used, so this removes nothing.
        removed = await self.gifs.remove(record, unused_since)
        if removed:
            for blob_id in record.blob_ids:
                await self.blobs.delete(blob_id)
        await self.gifs.clear_pending(pending_id)
        return removed

    async def _clean_up(self, pending: PendingBlobs) -> None:
        kept = await self.gifs.get(pending.gif_id)
        for blob_id in pending.blob_ids:
            if kept is None or blob_id not in kept.blob_ids:
                await self.blobs.delete(blob_id)
        await self.gifs.clear_pending(pending.pending_id)
