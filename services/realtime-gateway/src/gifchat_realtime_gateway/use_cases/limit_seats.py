"""Bound the seats that one client address can hold in the cluster, so that nobody fills the rooms of others.

Guests have a bound of their own, because a program becomes a new guest with each connection.

A node counts its seats in memory. It asks Redis for the other nodes' seats only if an address holds more than a share
of its bound here. So joins of ordinary addresses cost nothing, and an address can exceed its bound by at most that
share for each further node.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway.domain.address_seats import AddressSeats
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError

SHARE = 10
"""A node asks Redis about addresses with more than a tenth of their bound."""
PERIOD_S = 5.0
KEPT_S = 3 * PERIOD_S
"""How long another node's number counts after its last update."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Users with a session, or guests."""

    prefix: str
    """Prefix of their addresses in Redis."""
    bound: int
    held: AddressSeats


class LimitSeats:
    """Counts seats by address, and refuses seats above the bound."""

    def __init__(
        self,
        seats: Seats,
        *,
        per_address: int,
        guests_per_address: int,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`grace_s`: how long a seat counts after its last session; `clock` is monotonic, in seconds."""
        self._seats = seats
        self._users = _Kind("", per_address, AddressSeats())
        self._guests = _Kind("guests:", guests_per_address, AddressSeats())
        self._grace_s = grace_s
        self._clock = clock

    async def take(self, session: Session, room_id: RoomId) -> None:
        """Count a seat for the session's address, until `give_back`, or until the session leaves the room.

        Raises:
            Refused: `TOO_MANY_SEATS`. The seat does not count.
            SeatsUnavailableError: the seats of the other nodes cannot be counted. The seat does not count.
        """
        kind = self._kind(session)
        session.on_left = self.left
        own = kind.held.take(session.address, (room_id, session.who.user_id), self._clock())
        try:
            total = own if own <= kind.bound // SHARE else await self._total(kind, session.address, own)
        except BaseException:
            self.give_back(session, room_id)
            raise
        if total > kind.bound:
            self.give_back(session, room_id)
            raise Refused(errors.TOO_MANY_SEATS)

    def give_back(self, session: Session, room_id: RoomId) -> None:
        """Stop counting the session for a seat that it did not get."""
        self._end(session, room_id, 0.0)

    def left(self, session: Session, room_id: RoomId) -> None:
        """Stop counting the session for the seat. The seat itself counts until its grace ends."""
        self._end(session, room_id, self._grace_s)

    async def tell(self) -> None:
        """Tell the other nodes about addresses with many seats here. If Redis is down, the next call retries."""
        try:
            for kind in (self._users, self._guests):
                for address, own in kind.held.above(kind.bound // SHARE, self._clock()).items():
                    await self._total(kind, address, own)
        except SeatsUnavailableError as error:
            _log.warning("address_seats_not_told", error=str(error))

    async def run(self) -> None:
        """Call `tell` once per period, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.tell()

    def _end(self, session: Session, room_id: RoomId, grace_s: float) -> None:
        seat = (room_id, session.who.user_id)
        self._kind(session).held.give_back(session.address, seat, self._clock(), grace_s)

    async def _total(self, kind: _Kind, address: str, own: int) -> int:
        return await self._seats.count_address(f"{kind.prefix}{address}", own, kept_s=KEPT_S)

    def _kind(self, session: Session) -> _Kind:
        return self._guests if session.guest else self._users
