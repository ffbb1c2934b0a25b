"""Signed tokens, made with itsdangerous: one set of secrets, and a salt per purpose."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from gifchat_contracts import identity, limits
from gifchat_contracts.ids import RoomId, UserId, is_room_id, is_user_id
from gifchat_rooms_api.ports import Membership


class SignedTokens:
    """`ports.Signatures` with itsdangerous."""

    def __init__(self, session_secrets: Sequence[str]) -> None:
        """The last of `session_secrets` signs new tokens; all of them verify."""
        self._sessions = _serializer(session_secrets, identity.SESSION_SALT)
        self._tickets = _serializer(session_secrets, identity.TICKET_SALT)
        self._memberships = _serializer(session_secrets, identity.MEMBERSHIP_SALT)

    def session_of(self, cookie: str) -> str | None:
        """See `ports.Signatures`."""
        try:
            session_id: Any = self._sessions.loads(cookie, max_age=identity.SESSION_TTL_S)
        except BadData:
            return None
        return session_id if isinstance(session_id, str) else None

    def ticket(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        """See `ports.Signatures`."""
        token = self._tickets.dumps({"r": room_id, "u": user_id, "j": secrets.token_urlsafe(12), "v": access_version})
        return token.decode() if isinstance(token, bytes) else token

    def membership_of(self, token: str) -> Membership | None:
        """See `ports.Signatures`."""
        try:
            content, issued_at = self._memberships.loads(token, max_age=limits.MEMBERSHIP_TTL_S, return_timestamp=True)
        except BadData:
            return None
        match content:
            case {"r": room_id, "u": user_id, "v": int(version)} if is_room_id(room_id) and is_user_id(user_id):
                return Membership(RoomId(room_id), UserId(user_id), version, issued_at)
            case _:
                return None


def _serializer(session_secrets: Sequence[str], salt: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        list(session_secrets),
        salt=salt,
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
