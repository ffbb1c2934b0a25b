"""A room as rooms-api describes it to a gateway: the hosting record and pages of the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from gifchat_contracts.codec import Frame
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_realtime_gateway.domain.session import Session


class Forever(Enum):
    """The end of a permanent ban."""

    FOREVER = "forever"


FOREVER: Final = Forever.FOREVER


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """The hosting record: a room and its sanctions, as stored by rooms-api."""

    room: RoomPayload
    epoch: Epoch
    access_version: int
    """Rises with every new password. Tickets, grants and memberships for an older password are void."""
    banned_until: Mapping[UserId, datetime | Forever]
    kicked_at: Mapping[UserId, datetime] = field(default_factory=dict)
    """Sessions admitted before this time must end."""
    kicked_until: Mapping[UserId, datetime] = field(default_factory=dict)
    """Kicked users may not enter before this time."""
    muted_until: Mapping[UserId, datetime | Forever] = field(default_factory=dict)

    @property
    def max_members(self) -> int:
        """How many users the room has seats for."""
        return self.room["max"]

    @property
    def owner_id(self) -> UserId:
        """The room's owner."""
        return UserId(self.room["owner_id"])

    def banned(self, user_id: UserId, now: datetime) -> bool:
        """Whether the user is banned at `now`."""
        return _in_force(self.banned_until.get(user_id), now)

    def muted(self, user_id: UserId, now: datetime) -> bool:
        """Whether the user is muted at `now`."""
        return _in_force(self.muted_until.get(user_id), now)

    def kicked(self, session: Session, room_id: RoomId) -> bool:
        """Whether the user was kicked after this session was admitted."""
        admitted = session.admissions.get(room_id)
        return admitted is not None and self.kicked_since(session.who.user_id, admitted.at)

    def kicked_since(self, user_id: UserId, at: datetime) -> bool:
        """Whether the user was kicked after `at`."""
        kicked_at = self.kicked_at.get(user_id)
        return kicked_at is not None and at < kicked_at


def _in_force(until: datetime | Forever | None, now: datetime) -> bool:
    return until is not None and (until is FOREVER or until > now)


@dataclass(frozen=True, slots=True)
class LogPage:
    """A contiguous part of a room's log, in ascending order."""

    epoch: Epoch
    head: int
    """At least the seq of the last frame."""
    frames: tuple[Frame, ...]
