"""Signed tokens for tests: valid ones like those of the services, and invalid ones."""

import hashlib
import time
from typing import Any

from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from gifchat_contracts import identity
from gifchat_contracts.ids import RoomId, UserId


def signed(salt: str, content: Any, *, age_s: float = 0, secret: str = identity.DEVELOPMENT_SECRET) -> str:
    """Sign `content` with the timestamp of `age_s` seconds ago."""

    class Past(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time.time() - age_s)

    serializer = URLSafeTimedSerializer(
        [secret],
        salt=salt,
        signer=Past,
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
    return str(serializer.dumps(content))


def content_of(salt: str, token: str, *, max_age_s: int = 60, secret: str = identity.DEVELOPMENT_SECRET) -> Any:
    """Read a token as a service does.

    Raises:
        BadData: the token is invalid.
    """
    serializer = URLSafeTimedSerializer(
        [secret], salt=salt, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    )
    return serializer.loads(token, max_age=max_age_s)


def session_cookie(session_id: str, **how: Any) -> str:
    """Return the value of a session cookie."""
    return signed(identity.SESSION_SALT, session_id, **how)


def ticket(room_id: RoomId, user_id: UserId, access_version: int = 1, ticket_id: str = "ticket", **how: Any) -> str:
    """Return a ticket like those that rooms-api issues for the room's password."""
    return signed(identity.TICKET_SALT, {"r": room_id, "u": user_id, "v": access_version, "j": ticket_id}, **how)
