"""Signed tokens for tests: those that the services make, and those that nobody would make."""

import hashlib
import time
from typing import Any

from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from gifchat_contracts import identity
from gifchat_contracts.ids import RoomId, UserId


def signed(salt: str, content: Any, *, age_s: float = 0, secret: str = identity.DEVELOPMENT_SECRET) -> str:
    """`content`, signed `age_s` ago."""

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
    """What a token says to a service that reads it.

    Raises:
        BadData: nothing, to nobody.
    """
    serializer = URLSafeTimedSerializer(
        [secret], salt=salt, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    )
    return serializer.loads(token, max_age=max_age_s)


def session_cookie(session_id: str, **how: Any) -> str:
    """The value of the session cookie."""
    return signed(identity.SESSION_SALT, session_id, **how)


def ticket(room_id: RoomId, user_id: UserId, access_version: int = 1, ticket_id: str = "ticket", **how: Any) -> str:
    """A ticket as rooms-api gives it to who knows the room's password."""
    return signed(identity.TICKET_SALT, {"r": room_id, "u": user_id, "v": access_version, "j": ticket_id}, **how)
