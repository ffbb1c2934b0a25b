"""Renew the leases on this node's seats, notice when seats are lost, and win them back.

A node can lose seats in two ways:

- Redis restarted empty while the node renewed in time. Redis admits no new users while it recovers, so nobody else can
  have the seats. The node registers them again, and nobody notices.
- The node was late (stopped, starved or cut off), and another node swept its seats. Other users may have them now. The
  node serves nobody on these seats until it has asked for them again. Users whose room is full by then are evicted.
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

MAX_CONCURRENT_ROOMS = 32
RETRY_AFTER_S = 0.5
"""Short, because a node with an expired lease serves nobody until it has renewed."""

_log = structlog.get_logger(__name__)


class SeatedSessions(Protocol):
    """The sessions that hold this node's seats."""

    def max_members(self, room_id: RoomId) -> int:
        """Return the room's `max`, as far as this node knows."""

    def owner_id(self, room_id: RoomId) -> UserId | None:
        """Return the room's owner; None if this node does not know the room."""

    async def evict(self, room_id: RoomId, user_ids: Collection[UserId]) -> None:
        """Take the users' sessions out of the room with `room_full`, because others have their seats now.

        Does not call `leave`. Must not raise.
        """


class RenewLeases:
    """Renews all leases of this node every few seconds.

    Use cases call `serves` before they serve a session, for example before they deliver an event to it.
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
        """`clock` is monotonic, in seconds, and keeps running while the process is stopped."""
        self._seats = seats
        self._sessions = sessions
        self._period_s = period_s
        self._clock = clock
        self._timer = LeaseTimer(lease_ttl_s, clock())
        self._awaiting: set[RoomId] = set()
        self._ask_again_at_s = math.inf
        """When a late node may ask for its seats again during a recovery."""

    @property
    def seats_valid(self) -> bool:
        """Whether this node can rely on all of its seats."""
        return not self._awaiting and self._timer.valid(self._clock())

    def serves(self, room_id: RoomId) -> bool:
        """Whether this node can rely on its seats in the room."""
        return room_id not in self._awaiting and self._timer.valid(self._clock())

    async def renew(self) -> None:
        """Renew once, and win back lost seats.

        Raises:
            SeatsUnavailableError: Redis is down. The next renewal retries.
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
        """Renew once per period, until cancelled."""
        while True:
            started_at_s = self._clock()
            try:
                await self.renew()
            except SeatsUnavailableError as error:
                _log.warning("renewal_failed", error=str(error), seats_valid=self.seats_valid)
                await asyncio.sleep(min(RETRY_AFTER_S, self._period_s))
            else:
                # Do not miss the time to ask again, because Redis admits new users shortly after it.
                next_at_s = min(started_at_s + self._period_s, self._ask_again_at_s)
                await asyncio.sleep(max(0.0, next_at_s - self._clock()))

    async def _renewed(self) -> Collection[RoomId]:
        """Renew, and give up on a silent Redis after one period. A lease lasts for three attempts."""
        try:
            async with asyncio.timeout(self._period_s):
                return await self._seats.renew()
        except TimeoutError as error:
            raise SeatsUnavailableError(f"no answer within {self._period_s} s") from error

    async def _win_back(self, rooms: Collection[RoomId]) -> None:
        """Win back the seats of many rooms concurrently, because all must be back before Redis admits new users."""
        self._ask_again_at_s = math.inf
        at_once = asyncio.Semaphore(MAX_CONCURRENT_ROOMS)

        async def win_back(room_id: RoomId) -> None:
            async with at_once:
                # Redis recovers for longer than a lease, so no new user is admitted while our lease is valid.
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
            room_id,
            self._seats.held(room_id),
            max_members=self._sessions.max_members(room_id),
            owner_id=self._sessions.owner_id(room_id),
        )
        if readmission.retry_after_s is not None:
            self._ask_again_at_s = min(self._ask_again_at_s, self._clock() + readmission.retry_after_s)
            return
        if readmission.refused:
            await self._sessions.evict(room_id, readmission.refused)
        self._awaiting.discard(room_id)
