"""The bearer token with which our services authenticate to each other."""

import hmac


class InternalToken:
    """One token, compared in constant time."""

    def __init__(self, token: str) -> None:
        self.authorization = f"Bearer {token}"
        """The value of the `Authorization` header."""
        self._expected = self.authorization.encode()

    def matches(self, authorization: str | None) -> bool:
        """Return whether a request's `Authorization` header holds the token."""
        return hmac.compare_digest((authorization or "").encode("latin-1", "replace"), self._expected)
