"""Signed tokens with itsdangerous: one set of secrets, and a salt for each purpose."""

import hmac
import json
from collections.abc import Sequence
from typing import Any

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode
from itsdangerous.signer import SigningAlgorithm

from gifchat_contracts import errors, identity, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId, is_room_id, is_user_id
from gifchat_realtime_gateway.ports import Ticket

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
            session_id: Any = self._sessions.read(cookie, identity.SESSION_TTL_S)
        except BadData:
            return None
        return session_id if isinstance(session_id, str) else None

    def ticket_of(self, token: str) -> Ticket:
        """See `ports.Signatures`."""
        try:
            content = self._tickets.read(token, limits.TICKET_TTL_S)
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
    """HMAC-SHA256 that keeps the state after the key, which is faster than a new digest for each token."""

    def __init__(self) -> None:
        self._begun: dict[bytes, hmac.HMAC] = {}

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """See `SigningAlgorithm`."""
        begun = self._begun.get(key)
        if begun is None:
            begun = self._begun[key] = hmac.new(key, digestmod="sha256")
        mac = begun.copy()
        mac.update(value)
        return mac.digest()


class _Serializer(URLSafeTimedSerializer):
    """Reads and writes the tokens of one purpose, in the format of all services.

    A gateway reads and writes a token for each join. For each one, itsdangerous would make a signer, derive its key and
    try to compress the content.
    """

    def __init__(self, session_secrets: Sequence[str], salt: str) -> None:
        # The same keys as with `key_derivation="hmac"`.
        derived = [hmac.digest(secret.encode(), salt.encode(), "sha256") for secret in session_secrets]
        super().__init__(derived)
        self._signer = TimestampSigner(derived, salt=salt, key_derivation="none", algorithm=_Hmac())

    def read(self, token: str, max_age_s: int) -> Any:
        """Return the signed content.

        Raises:
            BadData: the token is forged or broken.
            SignatureExpired: the token is older than `max_age_s`.
        """
        return self.load_payload(self._signer.unsign(token, max_age=max_age_s))

    def make_signer(self, salt: str | bytes | None = None) -> TimestampSigner:  # noqa: ARG002 - there is one salt
        """See `Serializer`."""
        return self._signer

    def dump_payload(self, obj: Any) -> bytes:
        """See `Serializer`."""
        return base64_encode(_to_json(obj))
