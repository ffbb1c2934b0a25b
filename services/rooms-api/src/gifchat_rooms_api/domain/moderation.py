"""An owner's actions against a user of the room: kick, ban and mute."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from gifchat_contracts import limits
from gifchat_contracts.ids import UserId

MAX_SANCTIONED_USERS = 1_000
"""Maximum sanctioned users per room. Sanctions are part of the room and are read with it for every batch."""

SANCTION_MAX_S = 10 * 365 * 24 * 3_600


class Forever(Enum):
    """The end of a sanction that does not expire."""

    FOREVER = "forever"


FOREVER: Final = Forever.FOREVER
Until = datetime | Forever


class TooManySanctionsError(Exception):
    """The room already has the maximum number of sanctioned users."""


@dataclass(frozen=True, slots=True)
class Sanction:
    """The current sanctions against one user."""

    banned_until: Until | None = None
    muted_until: Until | None = None
    kicked_at: datetime | None = None
    """Memberships issued at this moment or earlier are void."""

    def banned(self, now: datetime) -> bool:
        """Return whether the user is banned: may not enter, read or post."""
        return _in_force(self.banned_until, now)

    def muted(self, now: datetime) -> bool:
        """Return whether the user is muted: may not post."""
        return _in_force(self.muted_until, now)

    def pruned(self, now: datetime) -> "Sanction":
        """Return the sanctions that still apply. A kick expires with the last membership that it voids."""
        kicked_at = self.kicked_at
        if kicked_at is not None and kicked_at + timedelta(seconds=limits.MEMBERSHIP_TTL_S) <= now:
            kicked_at = None
        return Sanction(
            self.banned_until if self.banned(now) else None, self.muted_until if self.muted(now) else None, kicked_at
        )


NO_SANCTION = Sanction()


@dataclass(frozen=True, slots=True)
class Kick:
    """Remove the user from the room now; the user may come back."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Keep the user out of the room until `until`; None lifts the ban."""

    until: Until | None


@dataclass(frozen=True, slots=True)
class Mute:
    """Keep the user from posting until `until`; None lifts the mute."""

    until: Until | None


ModerationAction = Kick | Ban | Mute


def sanction_end(seconds: int | None, now: datetime) -> Until:
    """Return when a sanction of this many seconds ends; None means never."""
    return FOREVER if seconds is None else now + timedelta(seconds=seconds)


def apply_action(
    sanctions: Mapping[UserId, Sanction], user_id: UserId, action: ModerationAction, now: datetime
) -> dict[UserId, Sanction]:
    """Return the room's sanctions after `action`, without expired ones.

    Raises:
        TooManySanctionsError: `action` would sanction more than `MAX_SANCTIONED_USERS` users.
    """
    before = sanctions.get(user_id, NO_SANCTION)
    match action:
        case Kick():
            after = replace(before, kicked_at=now)
        case Ban(until):
            after = replace(before, banned_until=until)
        case Mute(until):
            after = replace(before, muted_until=until)
    pruned = {each: sanction.pruned(now) for each, sanction in {**sanctions, user_id: after}.items()}
    in_force = {each: sanction for each, sanction in pruned.items() if sanction != NO_SANCTION}
    if len(in_force) > MAX_SANCTIONED_USERS and user_id in in_force and user_id not in sanctions:
        raise TooManySanctionsError(f"{MAX_SANCTIONED_USERS} users are sanctioned in this room")
    return in_force


def _in_force(until: Until | None, now: datetime) -> bool:
    return until is not None and (until is FOREVER or until > now)
