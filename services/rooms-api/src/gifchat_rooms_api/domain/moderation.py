"""What an owner does against a user of the room: kick, ban, mute."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from gifchat_contracts import limits
from gifchat_contracts.ids import UserId

MAX_SANCTIONED_USERS = 1_000
"""Users with a sanction in one room: they are kept in the room itself, and are read with it for every message."""

SANCTION_MAX_S = 10 * 365 * 24 * 3_600


class Forever(Enum):
    """The end of what has no end."""

    FOREVER = "forever"


FOREVER: Final = Forever.FOREVER
Until = datetime | Forever


class TooManySanctionsError(Exception):
    """The room has as many sanctioned users as it can have."""


@dataclass(frozen=True, slots=True)
class Sanction:
    """What holds against one user."""

    banned_until: Until | None = None
    muted_until: Until | None = None
    kicked_at: datetime | None = None
    """Memberships issued before are void."""

    def banned(self, now: datetime) -> bool:
        """Whether the user may not enter, read or write."""
        return _holds(self.banned_until, now)

    def muted(self, now: datetime) -> bool:
        """Whether the user may not write."""
        return _holds(self.muted_until, now)

    def pruned(self, now: datetime) -> "Sanction":
        """The same without what has ended. A kick ends with the last membership that it voids."""
        kicked_at = self.kicked_at
        if kicked_at is not None and kicked_at + timedelta(seconds=limits.MEMBERSHIP_TTL_S) <= now:
            kicked_at = None
        return Sanction(
            self.banned_until if self.banned(now) else None, self.muted_until if self.muted(now) else None, kicked_at
        )


NO_SANCTION = Sanction()


@dataclass(frozen=True, slots=True)
class Kick:
    """Out of the room, now; coming back is allowed."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Out of the room until `until`; None ends a ban."""

    until: Until | None


@dataclass(frozen=True, slots=True)
class Mute:
    """Silent until `until`; None ends a mute."""

    until: Until | None


Measure = Kick | Ban | Mute


def end_of(seconds: int | None, now: datetime) -> Until:
    """When a sanction of so many seconds ends; None: never."""
    return FOREVER if seconds is None else now + timedelta(seconds=seconds)


def take_measure(
    sanctions: Mapping[UserId, Sanction], user_id: UserId, measure: Measure, now: datetime
) -> dict[UserId, Sanction]:
    """The sanctions of a room after `measure`, without those that have ended.

    Raises:
        TooManySanctionsError: the user would be one above `MAX_SANCTIONED_USERS`.
    """
    before = sanctions.get(user_id, NO_SANCTION)
    match measure:
        case Kick():
            after = replace(before, kicked_at=now)
        case Ban(until):
            after = replace(before, banned_until=until)
        case Mute(until):
            after = replace(before, muted_until=until)
    pruned = {each: sanction.pruned(now) for each, sanction in {**sanctions, user_id: after}.items()}
    holding = {each: sanction for each, sanction in pruned.items() if sanction != NO_SANCTION}
    if len(holding) > MAX_SANCTIONED_USERS and user_id in holding and user_id not in sanctions:
        raise TooManySanctionsError(f"{MAX_SANCTIONED_USERS} users have a sanction in this room")
    return holding


def _holds(until: Until | None, now: datetime) -> bool:
    return until is not None and (until is FOREVER or until > now)
