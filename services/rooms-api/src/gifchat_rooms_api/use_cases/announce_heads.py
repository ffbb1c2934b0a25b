"""Tell the gateways, every second, how far the rooms are in which something was written lately.

An event that was not published, or not heard, shows to a gateway as a gap as soon as the next one comes. The last one
of a room has no next one: this is what shows it. The rooms are found in the log, by time, so the entries of a replica
that died between its commit and its publishing are among them.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.ports import Leadership, MessageLog, Publisher, StoreClosedError, StoreUnavailableError
from gifchat_rooms_api.use_cases.read_history import HEADS_MAX_ROOMS

PERIOD_S = 1.0
LEASE_S = 2.0
"""Another replica takes over after it."""
ACTIVE = timedelta(seconds=30)
"""For how long a room's head is announced after its last entry: longer than any gateway is cut off unnoticed."""
OVERLAP = timedelta(seconds=15)
"""An entry is numbered before a majority has it, by a clock that may differ."""

_log = structlog.get_logger(__name__)


class AnnounceHeads:
    """One replica does it at a time, by a lease; by two for a moment is without harm."""

    def __init__(
        self, leadership: Leadership, log: MessageLog, publisher: Publisher, clock: Callable[[], datetime]
    ) -> None:
        self._leadership = leadership
        self._log = log
        self._publisher = publisher
        self._clock = clock
        self._active: dict[RoomId, datetime] = {}
        """When each room was last found to be written."""
        self._read_at: datetime | None = None

    async def work(self) -> None:
        """Announce once a period, until cancelled.

        Raises:
            StoreClosedError: the store is closed, so no later round can succeed.
        """
        while True:
            try:
                if await self._leadership.acquire(LEASE_S):
                    await self.announce()
                else:
                    self._read_at = None
            except StoreClosedError:
                raise
            except StoreUnavailableError as error:
                _log.warning("heads_not_announced", error=str(error))
            except Exception:  # the task's boundary: a round that crashes must not be the last one
                _log.exception("announcing_heads_crashed")
            await asyncio.sleep(PERIOD_S)

    async def announce(self) -> None:
        """Publish the head of each active room on its channel.

        Raises:
            StoreUnavailableError: the log cannot be read; the next round reads what this one missed.
        """
        now = self._clock()
        since = now - ACTIVE if self._read_at is None else self._read_at - OVERLAP
        for room_id in await self._log.written_since(since):
            self._active[room_id] = now
        self._read_at = now
        self._active = {room_id: at for room_id, at in self._active.items() if now - at < ACTIVE}
        rooms = list(self._active)
        for at in range(0, len(rooms), HEADS_MAX_ROOMS):
            for room_id, position in (await self._log.heads(rooms[at : at + HEADS_MAX_ROOMS])).items():
                frame = Frame(Kind.HEAD, b"", position.epoch, position.seq)
                self._publisher.publish(keys.room_channel(room_id), frame)
