"""Drain the node: accept no new connections, move the existing ones away, and keep their seats for the grace period."""

import asyncio
import random
from collections.abc import Collection, Sequence
from math import ceil
from typing import Protocol

import structlog

from gifchat_realtime_gateway.domain.drain import WAVE_S, waves
from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError

RECONNECT_S = 2.0
"""By then moved clients have reconnected: they make their first attempt within 1.5 s."""

_log = structlog.get_logger(__name__)


class Connections(Protocol):
    """The Engine.IO connections of this node, and the ones that it relays to other nodes."""

    def connections(self) -> Collection[str]:
        """Return the current ids."""

    async def close_connection(self, connection: str) -> None:
        """Close a connection in a way that makes the client reconnect by itself. Must not raise."""


class DrainNode:
    """Moves clients to other nodes: all of them once, or a share."""

    def __init__(self, connections: Connections, seats: Seats, over_s: float) -> None:
        """`over_s`: the seconds over which a move is spread."""
        self._connections = connections
        self._seats = seats
        self._over_s = over_s
        self._drained: asyncio.Task[None] | None = None
        self._shedding = 0

    @property
    def moving(self) -> bool:
        """Whether to refuse new connections. Otherwise the sticky cookie would route moved clients back here."""
        return self.draining or self._shedding > 0

    @property
    def draining(self) -> bool:
        """Whether this node is stopping."""
        return self._drained is not None

    async def drain(self) -> None:
        """Move all clients away, then start the grace of the remaining seats. A second call waits for the first."""
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain(), name="drain")
        await asyncio.shield(self._drained)

    async def shed(self, share: float) -> None:
        """Move a random share (0–1) of the clients away, and keep serving the others."""
        connections = list(self._connections.connections())
        random.shuffle(connections)
        self._shedding += 1
        try:
            await self._move(connections[: ceil(len(connections) * share)])
            await asyncio.sleep(RECONNECT_S)
        finally:
            self._shedding -= 1

    async def _drain(self) -> None:
        connections = list(self._connections.connections())
        random.shuffle(connections)
        await self._move(connections)
        # Clients accepted before the drain began may have connected after the list was made.
        await asyncio.gather(*map(self._connections.close_connection, self._connections.connections()))
        try:
            await self._seats.release_node()
        except SeatsUnavailableError as error:
            _log.warning("seats_not_released", error=str(error))
        _log.info("drained")

    async def _move(self, connections: Sequence[str]) -> None:
        moving = waves(connections, self._over_s)
        _log.info("moving", connections=len(connections), waves=len(moving))
        for wave in moving:
            await asyncio.gather(*map(self._connections.close_connection, wave))
            await asyncio.sleep(WAVE_S)
