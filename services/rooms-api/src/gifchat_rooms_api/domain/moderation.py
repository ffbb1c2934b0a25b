"""An owner's actions against a user of the room: kick, ban and mute."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from gifchat_contracts import limits
from gifchat_contracts.ids import UserId

SANCTION_MAX_S = 10 * 365 * 24 * 3_600


class Forever(Enum):
    """The end of a sanction that does not expire."""

    FOREVER = "forever"


FOREVER: Final = Forever.FOREVER
Until = datetime | Forever


@dataclass(frozen=True, slots=True)
class Sanction:
    """The current sanctions against one user."""

    banned_until: Until | None = None
    muted_until: Until | None = None
    kicked_at: datetime | None = None
    """Memberships, tickets and grants from this moment or earlier are void."""
    kicked_until: datetime | None = None
    """A kicked user may not enter before this moment."""

    def banned(self, now: datetime) -> bool:
        """Return whether the user is banned: may not enter, read or post."""
        return _in_force(self.banned_until, now)

    def muted(self, now: datetime) -> bool:
        """Return whether the user is muted: may not post."""
        return _in_force(self.muted_until, now)

    def kicked(self, now: datetime) -> bool:
        """Return whether the user was kicked and may not enter yet."""
        return self.kicked_until is not None and self.kicked_until > now

    def pruned(self, now: datetime) -> "Sanction":
        """Return the sanctions that still apply. A kick expires with the last membership that it voids."""
        kicked_at = self.kicked_at
        if kicked_at is not None and kicked_at + timedelta(seconds=limits.MEMBERSHIP_TTL_S) <= now:
            kicked_at = None
        return Sanction(
            self.banned_until if self.banned(now) else None,
            self.muted_until if self.muted(now) else None,
            kicked_at,
            self.kicked_until if self.kicked(now) else None,
        )


NO_SANCTION = Sanction()


@dataclass(frozen=True, slots=True)
class Kick:
    """Remove the user from the room now. The user may come back at `until`, and needs the room's password again."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Ban:
    """Remove the user and keep them out of the room until `until`; None lifts the ban."""

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
    sanctions: Mapping[UserId, Sanction], user_id: UserId, action: ModerationAction, now: datetime, *, max_users: int
) -> dict[UserId, Sanction]:
    """Return the sanctions of at most `max_users` users after `action`, oldest first, without expired ones.

    An action always applies. If there are too many sanctions, old ones end early. The oldest kicks end first, because
    those users are out already, and then the oldest bans and mutes.
    """
    before = sanctions.get(user_id, NO_SANCTION)
    match action:
        case Kick(until):
            after = replace(before, kicked_at=now, kicked_until=until)
        case Ban(until):
            after = replace(before, banned_until=until)
        case Mute(until):
            after = replace(before, muted_until=until)
    others = {each: sanction.pruned(now) for each, sanction in sanctions.items() if each != user_id}
    in_force = {each: sanction for each, sanction in others.items() if sanction != NO_SANCTION}
    newest = after.pruned(now)
    if newest != NO_SANCTION:
        surplus = len(in_force) + 1 - max_users
        for each in sorted(in_force, key=lambda each: not _only_kicked(in_force[each]))[: max(0, surplus)]:
            del in_force[each]
        in_force[user_id] = newest
    return in_force


def _only_kicked(sanction: Sanction) -> bool:
    return sanction.banned_until is None and sanction.muted_until is None


def _in_force(until: Until | None, now: datetime) -> bool:
    return until is not None and (until is FOREVER or until > now)
