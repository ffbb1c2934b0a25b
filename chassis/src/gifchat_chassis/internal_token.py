"""The bearer token with which services of this system prove themselves to one another."""

import hmac


class InternalToken:
    """One token. Comparing takes the same time wherever the first difference is."""

    def __init__(self, token: str) -> None:
        self.authorization = f"Bearer {token}"
        """The value of the `Authorization` header."""
        self._expected = self.authorization.encode()

    def matches(self, authorization: str | None) -> bool:
        """Return whether a request's `Authorization` header holds the token."""
        return hmac.compare_digest((authorization or "").encode("latin-1", "replace"), self._expected)
