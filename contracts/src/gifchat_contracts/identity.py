"""A user's public identity: an id and a colour, both irreversibly derived from the session id.

The session id is the secret in the signed cookie. It appears nowhere else outside the services.
"""

import hashlib
from dataclasses import dataclass
from typing import Self

from gifchat_contracts.ids import UserId

SESSION_COOKIE = "gifchat_session"
SESSION_SALT = "gifchat.session"
TICKET_SALT = "gifchat.ticket"
MEMBERSHIP_SALT = "gifchat.membership"
MEMBERSHIP_HEADER = "X-Room-Membership"
SESSION_TTL_S = 30 * 24 * 3_600

DEVELOPMENT_SECRET = "development-only-secret-change-me"  # noqa: S105 - only for loopback
"""The default signing secret. Every service that listens off loopback, or in production, refuses to start with it."""

_STEPS = (0.35, 0.5, 0.65)


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, as the services pass it to each other."""

    user_id: UserId
    color: str
    """`#rrggbb`"""

    @classmethod
    def of_session(cls, session_id: str) -> Self:
        """Return the identity that belongs to a session."""
        return cls(user_id_of(session_id), color_of(session_id))


def user_id_of(session_id: str) -> UserId:
    """Return the public id: 96 bits of SHA-256. It does not reveal the session id, which has 128 random bits."""
    return UserId(hashlib.sha256(b"gifchat.user:" + session_id.encode()).hexdigest()[:24])


def color_of(session_id: str) -> str:
    """Return the user's colour, by the algorithm of the npm package `color-hash` 2 with its defaults.

    Returns:
        `#rrggbb`, the same as `new ColorHash().hex(session_id)`.
    """
    h = int(hashlib.sha256(session_id.encode()).hexdigest()[:8], 16)
    hue = h % 359
    h = -(-h // 360)
    saturation = _STEPS[h % 3]
    h = -(-h // 3)
    lightness = _STEPS[h % 3]
    return _hsl_to_hex(hue / 360, saturation, lightness)


def _hsl_to_hex(hue: float, saturation: float, lightness: float) -> str:
    q = lightness * (1 + saturation) if lightness < 0.5 else lightness + saturation - lightness * saturation
    p = 2 * lightness - q

    def channel(t: float) -> int:
        t %= 1
        if t < 1 / 6:
            value = p + (q - p) * 6 * t
        elif t < 0.5:
            value = q
        elif t < 2 / 3:
            value = p + (q - p) * 6 * (2 / 3 - t)
        else:
            value = p
        return int(value * 255 + 0.5)  # JavaScript's Math.round

    return f"#{channel(hue + 1 / 3):02x}{channel(hue):02x}{channel(hue - 1 / 3):02x}"
