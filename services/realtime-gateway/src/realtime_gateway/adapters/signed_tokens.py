"""Signed tokens with itsdangerous: one set of secrets, a salt for each purpose."""

import hmac
import json
from collections.abc import Sequence
from typing import Any

from itsdangerous import BadData, SignatureExpired, Signer, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode
from itsdangerous.signer import SigningAlgorithm

from realtime_gateway.domain.errors import Refused
from realtime_gateway.ports import Ticket
from room_contracts import errors, identity, limits
from room_contracts.ids import RoomId, UserId, is_room_id, is_user_id

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class SignedTokens:
    """`ports.Signatures`."""

    def __init__(self, session_secrets: Sequence[str]) -> None:
        """The last of `session_secrets` signs; all of them verify."""
        self._sessions = _Serializer(session_secrets, identity.SESSION_SALT)
        self._tickets = _Serializer(session_secrets, identity.TICKET_SALT)
        self._memberships = _Serializer(session_secrets, identity.MEMBERSHIP_SALT)

    def session_of(self, cookie: str) -> str | None:
        """See `ports.Signatures`."""
        try:
            session_id: Any = self._sessions.loads(cookie, max_age=identity.SESSION_TTL_S)
        except BadData:
            return None
        return session_id if isinstance(session_id, str) else None

    def ticket_of(self, token: str) -> Ticket:
        """See `ports.Signatures`."""
        try:
            content = self._tickets.loads(token, max_age=limits.TICKET_TTL_S)
        except SignatureExpired as error:
            raise Refused(errors.TICKET_EXPIRED) from error
        except BadData as error:
            raise Refused(errors.TICKET_INVALID) from error
        match content:
            case {"r": room_id, "u": user_id, "j": str(ticket_id), "v": int(version)} if is_room_id(
                room_id
            ) and is_user_id(user_id):
                return Ticket(RoomId(room_id), UserId(user_id), version, ticket_id)
            case _:
                raise Refused(errors.TICKET_INVALID)

    def membership(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        """See `ports.Signatures`."""
        token = self._memberships.dumps({"r": room_id, "u": user_id, "v": access_version})
        return token.decode() if isinstance(token, bytes) else token


class _Hmac(SigningAlgorithm):
    """HMAC-SHA256 in one call."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """See `SigningAlgorithm`."""
        return hmac.digest(key, value, "sha256")


class _Serializer(URLSafeTimedSerializer):
    """The tokens of one purpose, as every service reads them.

    itsdangerous would make a signer and derive its key anew for each token, and try to compress what is too short for
    that: a gateway reads and writes one for each join.
    """

    def __init__(self, session_secrets: Sequence[str], salt: str) -> None:
        # What `key_derivation="hmac"` makes of them.
        derived = [hmac.digest(secret.encode(), salt.encode(), "sha256") for secret in session_secrets]
        super().__init__(derived, signer_kwargs={"key_derivation": "none", "algorithm": _Hmac()})
        self._signer = super().make_signer()

    def make_signer(self, salt: str | bytes | None = None) -> Signer:  # noqa: ARG002 - there is one salt
        """See `Serializer`."""
        return self._signer

    def dump_payload(self, obj: Any) -> bytes:
        """See `Serializer`."""
        return base64_encode(_to_json(obj))
