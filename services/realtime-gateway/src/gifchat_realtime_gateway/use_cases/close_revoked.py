"""Close the connections of sessions that were signed out, on this node."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from gifchat_chassis.revocations import Revocation, RevokedSessions
from gifchat_contracts.identity import user_id_of
from gifchat_contracts.ids import UserId

PERIOD_S = 1.0
"""All revocations of a period share one search through the connections."""
CONNECTIONS_PER_TURN = 500
"""The search takes about 1 µs for each connection, so it blocks the loop for about 0.5 ms at most."""

_log = structlog.get_logger(__name__)


class SessionConnections(Protocol):
    """The connections of this node that a user's session opened."""

    def with_sessions(self) -> Iterable[tuple[str, str]]:
        """Return a snapshot: the id of each connection, and the id of its session."""

    def close_revoked(self, connection: str) -> None:
        """Close a connection for good, because its session was signed out. A no-op if it is closed."""


class CloseRevoked:
    """Closes connections within a period of learning about a revocation."""

    def __init__(self, connections: SessionConnections, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix time."""
        self.revoked = RevokedSessions(clock)
        """The handshake refuses these."""
        self.tell: Callable[[str], None] = lambda _connection: None
        """Tells the client of a connection why it will be closed."""
        self._connections = connections
        self._clock = clock
        self._to_close: set[UserId] = set()
        self._any = asyncio.Event()

    def revoke(self, user_id: UserId) -> None:
        """Refuse this user's session from now on, and close its connections soon."""
        if self.revoked.add(Revocation(user_id, int(self._clock() * 1_000))):
            self.close(user_id)

    def close(self, user_id: UserId) -> None:
        """Close the connections of this user's session soon."""
        self._to_close.add(user_id)
        self._any.set()

    async def run(self) -> None:
        """Close connections until cancelled."""
        while True:
            await self._any.wait()
            self._any.clear()
            revoked, self._to_close = self._to_close, set()
            closed = 0
            for number, (connection, session_id) in enumerate(self._connections.with_sessions(), 1):
                if user_id_of(session_id) in revoked:
                    self.tell(connection)
                    self._connections.close_revoked(connection)
                    closed += 1
                if number % CONNECTIONS_PER_TURN == 0:
                    await asyncio.sleep(0)
            _log.info("sessions_revoked", sessions=len(revoked), connections=closed)
            await asyncio.sleep(PERIOD_S)
