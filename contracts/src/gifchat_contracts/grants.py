"""A grant: the record in Redis that a user gave a private room's password."""

from datetime import UTC, datetime
from typing import NamedTuple, Self


class Grant(NamedTuple):
    """Which password the user gave, and when."""

    access_version: int
    given_at: datetime

    def valid(self, access_version: int, kicked_at: datetime | None) -> bool:
        """Whether the grant is for this access version and was given after the user's last kick."""
        return self.access_version == access_version and (kicked_at is None or self.given_at > kicked_at)

    def encode(self) -> str:
        """Return the value that is stored: `<access version>|<milliseconds since 1970>`."""
        return f"{self.access_version}|{round(self.given_at.timestamp() * 1000)}"

    @classmethod
    def decode(cls, value: bytes | str) -> Self:
        """Parse a stored value. A grant without a time, as version 0.2 stored it, counts as given before every kick.

        Raises:
            ValueError: the value is not a grant.
        """
        text = value.decode() if isinstance(value, bytes) else value
        version, _, given_ms = text.partition("|")
        return cls(int(version), datetime.fromtimestamp(int(given_ms or 0) / 1000, UTC))
