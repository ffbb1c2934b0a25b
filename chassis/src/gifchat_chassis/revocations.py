"""The sessions that were signed out. Each process keeps them in memory, so a check needs no I/O.

rooms-api stores revocations. Every process reads the new ones every few seconds. A revocation contains the session's
user id, which does not reveal the session. It is forgotten when no cookie of its session can be valid any more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import structlog

from gifchat_contracts.identity import SESSION_TTL_S
from gifchat_contracts.ids import UserId, is_user_id

KEPT_S = SESSION_TTL_S + 3_600.0
"""A cookie can be renewed until every process knows of the revocation, and then lives for `SESSION_TTL_S`."""
PAGE_MAX = 5_000
"""Revocations in one answer of rooms-api."""
OVERLAP_MS = 30_000
"""Each read also covers the last 30 s again: a revocation becomes readable a moment after its time."""

_log = structlog.get_logger(__name__)


class Revocation(NamedTuple):
    """The session of this user was signed out."""

    user_id: UserId
    at_ms: int
    """Unix time by the database's clock, in milliseconds."""


class RevocationsUnavailableError(Exception):
    """The revocations cannot be read now."""


ReadRevocations = Callable[[int], Awaitable[Sequence[Revocation]]]
"""Returns the first `PAGE_MAX` revocations at this Unix time in milliseconds or later, in ascending order of time.

Raises `RevocationsUnavailableError`.
"""


class RevokedSessions:
    """The revoked sessions that this process knows."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._at_ms: dict[UserId, int] = {}

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._at_ms

    def __len__(self) -> int:
        return len(self._at_ms)

    def add(self, revocation: Revocation) -> bool:
        """Add a revocation; return whether it was unknown."""
        if revocation.user_id in self._at_ms:
            return False
        self._at_ms[revocation.user_id] = revocation.at_ms
        return True

    def forget_expired(self) -> None:
        """Forget revocations whose session has no valid cookie any more. They were added in about the order of time."""
        oldest_ms = (self._clock() - KEPT_S) * 1_000
        while self._at_ms and self._at_ms[user_id := next(iter(self._at_ms))] < oldest_ms:
            del self._at_ms[user_id]


class FollowRevocations:
    """Reads new revocations periodically."""

    def __init__(
        self,
        revoked: RevokedSessions,
        read: ReadRevocations,
        every_s: float,
        on_new: Callable[[UserId], None] = lambda _user_id: None,
    ) -> None:
        """`on_new` is called for each revocation that was read and was unknown."""
        self._revoked = revoked
        self._read = read
        self._every_s = every_s
        self._on_new = on_new
        self._newest_ms = 0

    async def catch_up(self) -> None:
        """Read all new revocations.

        Raises:
            RevocationsUnavailableError: some may be missing.
        """
        since_ms = max(0, self._newest_ms - OVERLAP_MS)
        while True:
            page = await self._read(since_ms)
            for revocation in page:
                self._newest_ms = max(self._newest_ms, revocation.at_ms)
                if self._revoked.add(revocation):
                    self._on_new(revocation.user_id)
            if len(page) < PAGE_MAX:
                break
            since_ms = max(page[-1].at_ms, since_ms + 1)
        self._revoked.forget_expired()

    async def run(self) -> None:
        """Catch up once per period, until cancelled."""
        failing = False
        while True:
            try:
                await self.catch_up()
            except RevocationsUnavailableError as error:
                if not failing:
                    _log.warning("revocations_not_read", error=str(error))
                failing = True
            else:
                failing = False
            await asyncio.sleep(self._every_s)


def page_to_json(page: Iterable[Revocation]) -> dict[str, Any]:
    """Return the answer of rooms-api to a read."""
    return {"revoked": [list(revocation) for revocation in page]}


def page_from_json(answer: Any) -> list[Revocation]:
    """Read an answer of rooms-api.

    Raises:
        RevocationsUnavailableError: it is not such an answer.
    """
    match answer:
        case {"revoked": list(pairs)}:
            return [_revocation(pair) for pair in pairs]
        case _:
            raise RevocationsUnavailableError("not a list of revocations")


def _revocation(pair: Any) -> Revocation:
    match pair:
        case [user_id, int(at_ms)] if is_user_id(user_id):
            return Revocation(user_id, at_ms)
        case _:
            raise RevocationsUnavailableError("not a revocation")
