"""`gifchat_rooms_api.ports.Gifs` in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from gifchat_contracts.ids import GifId
from gifchat_rooms_api.domain.gif import StoredGif
from gifchat_rooms_api.ports import BlobId, GifRecord, PendingBlobs


@dataclass(slots=True)
class _Kept:
    record: GifRecord
    last_used_at: datetime


class FakeGifs:
    """Keeps records in dictionaries."""

    def __init__(self) -> None:
        self.shown: set[GifId] = set()
        """The GIFs that a message shows."""
        self._kept: dict[GifId, _Kept] = {}
        self._pending: dict[str, tuple[datetime, PendingBlobs]] = {}
        self._numbers = count()

    async def get(self, gif_id: GifId) -> GifRecord | None:
        """See the port."""
        kept = self._kept.get(gif_id)
        return None if kept is None else kept.record

    async def use(self, gif_id: GifId, now: datetime) -> StoredGif | None:
        """See the port."""
        kept = self._kept.get(gif_id)
        if kept is None:
            return None
        kept.last_used_at = max(kept.last_used_at, now)
        return kept.record.gif

    async def add(self, record: GifRecord, now: datetime) -> GifRecord:
        """See the port."""
        kept = self._kept.setdefault(record.gif.gif_id, _Kept(record, now))
        kept.last_used_at = max(kept.last_used_at, now)
        return kept.record

    async def unreferenced(self, unused_since: datetime, now: datetime) -> Sequence[GifRecord]:
        """See the port."""
        unused = [kept for kept in self._kept.values() if kept.last_used_at < unused_since]
        for kept in unused:
            if kept.record.gif.gif_id in self.shown:
                kept.last_used_at = max(kept.last_used_at, now)
        return [kept.record for kept in unused if kept.record.gif.gif_id not in self.shown]

    async def remove(self, record: GifRecord, unused_since: datetime) -> bool:
        """See the port."""
        kept = self._kept.get(record.gif.gif_id)
        if kept is None or kept.record != record or kept.last_used_at >= unused_since:
            return False
        del self._kept[record.gif.gif_id]
        return True

    async def mark_pending(self, gif_id: GifId, blob_ids: Sequence[BlobId], now: datetime) -> str:
        """See the port."""
        pending = PendingBlobs(str(next(self._numbers)), gif_id, tuple(blob_ids))
        self._pending[pending.pending_id] = (now, pending)
        return pending.pending_id

    async def clear_pending(self, pending_id: str) -> None:
        """See the port."""
        self._pending.pop(pending_id, None)

    async def stale_pending(self, before: datetime) -> Sequence[PendingBlobs]:
        """See the port."""
        stale = [(since, pending) for since, pending in self._pending.values() if since < before]
        return [pending for _, pending in sorted(stale, key=lambda each: each[0])]
