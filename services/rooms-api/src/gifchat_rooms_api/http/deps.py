"""Dependencies that routes share: the caller, the caller's address, and checks of origin, token and access."""

from collections.abc import Collection, Container
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import APIKeyCookie

from gifchat_chassis.client_address import rate_limit_key
from gifchat_chassis.internal_token import InternalToken
from gifchat_chassis.origin import same_origin
from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import MEMBERSHIP_HEADER, SESSION_COOKIE, Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.http.message_schemas import RoomIdText
from gifchat_rooms_api.ports import Signatures
from gifchat_rooms_api.use_cases.check_access import CheckAccess
from gifchat_rooms_api.use_cases.group_commit import Rule
from gifchat_rooms_api.use_cases.limit_reads import LimitReads

_session_cookie = APIKeyCookie(
    name=SESSION_COOKIE, scheme_name="session", description="Set by `POST /api/v1/session`.", auto_error=False
)
Membership = Annotated[
    str | None,
    Header(
        alias=MEMBERSHIP_HEADER,
        max_length=1_024,
        description="The `membership` from the join ack. It stands in for the seat while the seats cannot be read.",
    ),
]

_REMEMBERED_IDENTITIES = 10_000


@dataclass(frozen=True, slots=True)
class Reader:
    """A user who asks for a room's log."""

    user_id: UserId
    address: str
    rule: Rule
    """Whether the user may read this room."""


class Guards:
    """Route dependencies that identify the caller, or refuse the request."""

    def __init__(
        self,
        signatures: Signatures,
        access: CheckAccess,
        limit_reads: LimitReads,
        allowed_origins: Collection[str],
        internal_token: str,
        *,
        revoked: Container[UserId] = (),
    ) -> None:
        """`revoked`: the users whose sessions were signed out."""
        self._signatures = signatures
        self._revoked = revoked
        self._access = access
        self._limit_reads = limit_reads
        self.same_origin = same_origin(frozenset(allowed_origins))
        self._identity_of = lru_cache(_REMEMBERED_IDENTITIES)(Identity.of_session)
        self._internal_token = InternalToken(internal_token)

    async def caller(self, cookie: Annotated[str | None, Depends(_session_cookie)]) -> Identity:
        """Return the caller's identity from the session cookie, or refuse with a code that says what is wrong."""
        session_id = self._signatures.session_of(cookie) if cookie else None
        if session_id is None:
            raise Refused(errors.SESSION_REQUIRED)
        user = self._identity_of(session_id)
        if user.user_id in self._revoked:
            raise Refused(errors.SESSION_REVOKED)
        return user

    async def internal_only(self, request: Request) -> None:
        """Refuse callers without the internal token."""
        if not self._internal_token.matches(request.headers.get("authorization")):
            raise Refused(errors.INTERNAL_ONLY)

    async def reader(self, room_id: RoomIdText, request: Request, membership: Membership = None) -> Reader:
        """Return the caller with the rule for reading the room's log, or refuse with `RATE_LIMITED`."""
        user, address = await self.caller(await _session_cookie(request)), address_of(request)
        self._limit_reads.check(user.user_id, address)
        rule = await self._access.reader_rule(RoomId(room_id), user.user_id, membership)
        return Reader(user.user_id, address, rule)

    async def writer_rule(self, room_id: RoomIdText, request: Request, membership: Membership = None) -> Rule:
        """Return the rule for the caller to post into the room."""
        user = await self.caller(await _session_cookie(request))
        return await self._access.writer_rule(RoomId(room_id), user.user_id, membership)


def address_of(request: Request) -> str:
    """Return the client's address behind the trusted proxies, in the form that rate limits count by."""
    return rate_limit_key(request.client.host if request.client else "unknown")
