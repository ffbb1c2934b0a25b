"""The session cookie and other signed tokens. They share the secrets, and each purpose has its own salt."""

import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode
from itsdangerous.signer import SigningAlgorithm

from gifchat_contracts.identity import SESSION_SALT, SESSION_TTL_S

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class _Hmac(SigningAlgorithm):
    """HMAC-SHA256 with one cached state per key, which is faster than calling `hmac.digest`."""

    def __init__(self) -> None:
        self._keyed: dict[bytes, hmac.HMAC] = {}

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """See `SigningAlgorithm`. There are few keys: one for each secret and purpose."""
        keyed = self._keyed.get(key)
        if keyed is None:
            keyed = self._keyed[key] = hmac.new(key, digestmod="sha256")
        mac = keyed.copy()
        mac.update(value)
        return mac.digest()


class TokenSigner(URLSafeTimedSerializer):
    """Signs and reads tokens for one purpose, in the same way in every service.

    For each token, itsdangerous would create a signer, derive its key, and try to compress a short payload.
    That is too slow for gateways, which read and write a token for each join.
    """

    def __init__(self, session_secrets: Sequence[str], salt: str, *, remembered: int = 0) -> None:
        """The last of `session_secrets` signs; all of them verify.

        The latest `remembered` tokens are not verified again, because a signature stays valid. Only the token's age is
        checked each time. Broken tokens are not remembered.
        """
        # The same keys that `key_derivation="hmac"` would derive.
        derived = [hmac.digest(secret.encode(), salt.encode(), "sha256") for secret in session_secrets]
        super().__init__(derived)
        self._signer = TimestampSigner(derived, salt=salt, key_derivation="none", algorithm=_Hmac())
        self._verified = lru_cache(remembered)(self._verify)

    def sign(self, content: Any) -> str:
        """Return the token of a JSON value."""
        token = self.dumps(content)
        return token.decode() if isinstance(token, bytes) else token

    def read(self, token: str, max_age_s: int) -> Any:
        """Return what was signed.

        Raises:
            BadData: the token is broken, or none of the secrets signed it.
            SignatureExpired: it was signed more than `max_age_s` ago.
        """
        return self.read_with_time(token, max_age_s)[0]

    def read_with_time(self, token: str, max_age_s: int) -> tuple[Any, datetime]:
        """Return what was signed, and when; raises as `read` does. The content may be shared: do not change it."""
        content, signed_at, signed_at_s = self._verified(token)
        age_s = self._signer.get_timestamp() - signed_at_s
        if not 0 <= age_s <= max_age_s:
            raise SignatureExpired(f"Signature age {age_s} is not within 0 and {max_age_s} seconds")
        return content, signed_at

    def _verify(self, token: str) -> tuple[Any, datetime, int]:
        payload, signed_at = self._signer.unsign(token, return_timestamp=True)
        return self.load_payload(payload), signed_at, int(signed_at.timestamp())

    def make_signer(self, salt: str | bytes | None = None) -> TimestampSigner:  # noqa: ARG002 - there is one salt
        """See `Serializer`."""
        return self._signer

    def dump_payload(self, obj: Any) -> bytes:
        """See `Serializer`."""
        return base64_encode(_to_json(obj))


class SessionReader:
    """Verifies session cookies."""

    def __init__(self, session_secrets: Sequence[str], max_age_s: int = SESSION_TTL_S, *, remembered: int = 0) -> None:
        """See `TokenSigner`."""
        self._signer = TokenSigner(session_secrets, SESSION_SALT, remembered=remembered)
        self._max_age_s = max_age_s

    def session_of(self, cookie: str) -> str | None:
        """Return the session id of a cookie; None if the cookie is forged or older than `max_age_s`."""
        try:
            session_id = self._signer.read(cookie, self._max_age_s)
        except BadData:
            return None
        return session_id if isinstance(session_id, str) else None
