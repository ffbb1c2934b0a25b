"""Announce the heads of recently active rooms to the gateways, every second.

A gateway notices a lost event when the room's next event arrives. No event follows the last one, so the announced
head reveals its loss. Active rooms are found in the log by time. This includes entries of a replica that died between
commit and publish.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.ports import Leadership, MessageLog, Publisher, StoreClosedError, StoreUnavailableError
from gifchat_rooms_api.use_cases.read_history import HEADS_MAX_ROOMS

PERIOD_S = 1.0
LEASE_S = 2.0
"""If the leader does not renew its lease in this time, another replica takes over."""
ACTIVE_FOR = timedelta(seconds=30)
"""How long a room's head is announced after a query last found it. Gateways notice longer outages themselves."""
OVERLAP = timedelta(seconds=15)
"""How far a query reaches back before the previous one: entries are stored late, and clocks differ."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class AnnounceHeads:
    """The replica that holds the lease announces. Two replicas may overlap briefly, which does no harm."""

    leadership: Leadership
    log: MessageLog
    publisher: Publisher
    clock: Callable[[], datetime]
    _active: dict[RoomId, datetime] = field(init=False, default_factory=dict)
    """When each room was last found active."""
    _read_at: datetime | None = field(init=False, default=None)

    async def run(self) -> None:
        """Announce every `PERIOD_S` until cancelled.

        Raises:
            StoreClosedError: the store is closed, so no later round can succeed.
        """
        while True:
            try:
                if await self.leadership.acquire(LEASE_S):
                    await self.announce()
                else:
                    self._read_at = None
            except StoreClosedError:
                raise
            except StoreUnavailableError as error:
                _log.warning("heads_not_announced", error=str(error))
            except Exception:  # the task's boundary: one crashed round must not end the task
                _log.exception("announcing_heads_crashed")
            await asyncio.sleep(PERIOD_S)

    async def announce(self) -> None:
        """Publish the head of each active room on its channel.

        Raises:
            StoreUnavailableError: the log cannot be read; the next round catches up.
        """
        now = self.clock()
        since = now - ACTIVE_FOR if self._read_at is None else self._read_at - OVERLAP
        for room_id in await self.log.written_since(since):
            self._active[room_id] = now
        self._read_at = now
        self._active = {room_id: at for room_id, at in self._active.items() if now - at < ACTIVE_FOR}
        rooms = list(self._active)
        for at in range(0, len(rooms), HEADS_MAX_ROOMS):
            for room_id, position in (await self.log.heads(rooms[at : at + HEADS_MAX_ROOMS])).items():
                frame = Frame(Kind.HEAD, b"", position.epoch, position.seq)
                self.publisher.publish(keys.room_channel(room_id), frame)
