"""Stop without losing anybody: no new sockets, move those that are here, leave the seats in their grace."""

import asyncio
from collections.abc import Collection
from typing import Protocol

import structlog

from realtime_gateway.domain.drain import WAVE_S, waves
from realtime_gateway.ports import Occupancy, OccupancyUnavailable

_log = structlog.get_logger(__name__)


class Connections(Protocol):
    """The Engine.IO connections of this node."""

    def connections(self) -> Collection[str]:
        """Their ids, at this moment."""
        ...

    async def close_connection(self, connection: str) -> None:
        """Close one in the way that makes a client connect again by itself. Must not raise."""
        ...


class DrainNode:
    """Drains once; `draining` is asked by whoever lets sockets in."""

    def __init__(self, connections: Connections, occupancy: Occupancy, over_s: float) -> None:
        self._connections = connections
        self._occupancy = occupancy
        self._over_s = over_s
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether this node is stopping."""
        return self._draining

    async def drain(self) -> None:
        """Move all sockets away within the time that was set, then put every seat that is left into its grace."""
        self._draining = True
        moving = waves(sorted(self._connections.connections()), self._over_s)
        _log.info("draining", sockets=sum(map(len, moving)), waves=len(moving))
        for wave in moving:
            await asyncio.gather(*map(self._connections.close_connection, wave))
            await asyncio.sleep(WAVE_S)
        # Who had come in before the door was closed and connected after the list was made.
        await asyncio.gather(*map(self._connections.close_connection, self._connections.connections()))
        try:
            await self._occupancy.release_node()
        except OccupancyUnavailable as error:
            _log.warning("seats_not_released", error=str(error))
        _log.info("drained")
