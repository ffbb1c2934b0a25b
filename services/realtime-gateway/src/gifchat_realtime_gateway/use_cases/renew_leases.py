"""Keep this node's claim on its seats, know when it is lost, and win the seats back.

Two ways to lose seats, and they are not the same:

- Redis came back empty while the node renewed in time. Nobody can have taken the seats, because nobody is admitted
  while Redis recovers: they are registered again, and nobody notices.
- The node was late (stopped, starved, cut off) and another one swept it. The seats may be others' by now: the node
  serves nothing on them until it has asked for them again, and whoever finds the room full meanwhile has to go.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from gifchat_contracts import limits
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.seats import LeaseTimer
from gifchat_realtime_gateway.ports import Seats, SeatsUnavailableError

ROOMS_AT_ONCE = 32
RETRY_AFTER_S = 0.5
"""Nobody is served on a lease that ran out: as soon as Redis is back, it is to be renewed."""

_log = structlog.get_logger(__name__)


class SeatedSessions(Protocol):
    """The sessions that sit on this node's seats."""

    def max_members(self, room_id: RoomId) -> int:
        """The room's `max`, as far as this node knows."""
        ...

    async def evict(self, room_id: RoomId, user_ids: Collection[UserId]) -> None:
        """Take the users' sessions out of the room, with `room_full`; their seats are others' now. No `leave` follows.

        Must not raise.
        """
        ...


class RenewLeases:
    """Renews all leases of this node every few seconds.

    Whoever is about to serve a session on its seat (deliver to it, relay for it) asks `serves` first.
    """

    def __init__(
        self,
        seats: Seats,
        sessions: SeatedSessions,
        *,
        lease_ttl_s: float = limits.LEASE_TTL_S,
        period_s: float = limits.LEASE_RENEW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is monotonic, in seconds, and goes on while the process is stopped."""
        self._seats = seats
        self._sessions = sessions
        self._period_s = period_s
        self._clock = clock
        self._timer = LeaseTimer(lease_ttl_s, clock())
        self._awaiting: set[RoomId] = set()
        self._ask_again_at_s = math.inf
        """When a recovery lets a late node ask for its seats."""

    @property
    def seats_valid(self) -> bool:
        """Whether this node can rely on all of its seats."""
        return not self._awaiting and self._timer.valid(self._clock())

    def serves(self, room_id: RoomId) -> bool:
        """Whether this node can rely on its seats in the room."""
        return room_id not in self._awaiting and self._timer.valid(self._clock())

    async def renew(self) -> None:
        """Renew once, and win back what was lost.

        Raises:
            SeatsUnavailableError: Redis is away; what could not be won back is tried again at the next renewal.
        """
        sent_at_s = self._clock()
        lost = set(await self._renewed())
        was_late = not self._timer.valid(self._clock())
        self._awaiting &= lost
        if was_late:
            self._awaiting |= lost
        self._timer.renewed(sent_at_s)
        if lost:
            _log.warning("leases_lost", rooms=len(lost), late=was_late)
        await self._win_back(lost)

    async def run(self) -> None:
        """Renew once a period, until cancelled."""
        while True:
            started_at_s = self._clock()
            try:
                await self.renew()
            except SeatsUnavailableError as error:
                _log.warning("renewal_failed", error=str(error), seats_valid=self.seats_valid)
                await asyncio.sleep(min(RETRY_AFTER_S, self._period_s))
            else:
                # New users are let in shortly after: who was in before is to be first.
                next_at_s = min(started_at_s + self._period_s, self._ask_again_at_s)
                await asyncio.sleep(max(0.0, next_at_s - self._clock()))

    async def _renewed(self) -> Collection[RoomId]:
        """Give up on a silent Redis in time for the next try: a lease has time for three."""
        try:
            async with asyncio.timeout(self._period_s):
                return await self._seats.renew()
        except TimeoutError as error:
            raise SeatsUnavailableError(f"no answer within {self._period_s} s") from error

    async def _win_back(self, rooms: Collection[RoomId]) -> None:
        """Many at a time: all must be back before Redis admits new users."""
        self._ask_again_at_s = math.inf
        at_once = asyncio.Semaphore(ROOMS_AT_ONCE)

        async def win_back(room_id: RoomId) -> None:
            async with at_once:
                # Redis recovers for longer than a lease: a restoration within ours comes before any new user.
                if not self._timer.valid(self._clock()):
                    self._awaiting.add(room_id)
                if room_id in self._awaiting:
                    await self._readmit(room_id)
                else:
                    await self._seats.restore(room_id, self._seats.held(room_id))

        outcomes = await asyncio.gather(*map(win_back, rooms), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _readmit(self, room_id: RoomId) -> None:
        readmission = await self._seats.readmit(
            room_id, self._seats.held(room_id), max_members=self._sessions.max_members(room_id)
        )
        if readmission.retry_after_s is not None:
            self._ask_again_at_s = min(self._ask_again_at_s, self._clock() + readmission.retry_after_s)
            return
        if readmission.refused:
            await self._sessions.evict(room_id, readmission.refused)
        self._awaiting.discard(room_id)
