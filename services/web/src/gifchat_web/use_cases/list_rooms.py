"""List rooms, and keep each page of the list for a moment, because it is the same for everybody."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from gifchat_web.ports import Caller, RoomsApi, RoomsPage, Sort

_Key = tuple[str, Sort, str | None]


@dataclass(frozen=True, slots=True)
class _Kept:
    reading: asyncio.Task[RoomsPage]
    until_s: float


class ListRooms:
    """Reads pages of the list of rooms. Requests for the same page within `keep_s` share one read.

    The list is public: rooms-api answers everybody alike. Nothing that depends on a user may be kept here.
    """

    def __init__(
        self, rooms_api: RoomsApi, *, keep_s: float, max_pages: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`keep_s`: how old a page may get; 0 keeps none. `max_pages`: how many pages are kept."""
        self._rooms_api = rooms_api
        self._keep_s = keep_s
        self._max_pages = max_pages
        self._clock = clock
        self._kept: dict[_Key, _Kept] = {}
        """Oldest read first."""

    async def page(self, caller: Caller, *, query: str, sort: Sort, cursor: str | None) -> RoomsPage:
        """Return one page of the rooms whose titles contain `query`; raises `Refused`. Failures are not kept."""
        key, now_s = (query, sort, cursor), self._clock()
        kept = self._kept.get(key)
        if kept is None or now_s >= kept.until_s:
            reading = asyncio.ensure_future(self._rooms_api.list_rooms(caller, query=query, sort=sort, cursor=cursor))
            reading.add_done_callback(lambda done: self._forget_failure(key, done))
            kept = _Kept(reading, now_s + self._keep_s)
            self._keep(key, kept)
        # A user who leaves must not cancel the read, because others may be waiting for it.
        return await asyncio.shield(kept.reading)

    def drop(self) -> None:
        """Forget every page, because the list has changed."""
        self._kept.clear()

    def _forget_failure(self, key: _Key, reading: asyncio.Task[RoomsPage]) -> None:
        kept = self._kept.get(key)
        if (reading.cancelled() or reading.exception()) and kept is not None and kept.reading is reading:
            del self._kept[key]

    def _keep(self, key: _Key, kept: _Kept) -> None:
        self._kept.pop(key, None)
        self._kept[key] = kept
        if len(self._kept) > self._max_pages:
            del self._kept[next(iter(self._kept))]
