"""A room with members on this node: what is known of it, and the sessions that hear it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from gifchat_contracts.codec import Frame
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.recovery import Ring
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.domain.stream import Stream


class Forever(Enum):
    """The end of what has no end."""

    FOREVER = "forever"


FOREVER: Final = Forever.FOREVER


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """The hosting record: a room as rooms-api has it, with what decides over who may be in it."""

    room: RoomPayload
    epoch: Epoch
    access_version: int
    """Goes up with every new password: tickets, grants and memberships of an earlier one are void."""
    banned_until: Mapping[UserId, datetime | Forever]
    kicked_at: Mapping[UserId, datetime] = field(default_factory=dict)
    """Who was let in before that is to be gone."""

    @property
    def max_members(self) -> int:
        """How many users the room has seats for."""
        return self.room["max"]

    def banned(self, user_id: UserId, now: datetime) -> bool:
        """Whether the user may not be in the room."""
        until = self.banned_until.get(user_id)
        return until is not None and (until is FOREVER or until > now)

    def kicked(self, session: Session, room_id: RoomId) -> bool:
        """Whether the session was let in before its user was kicked."""
        admitted = session.admissions.get(room_id)
        return admitted is not None and self.kicked_since(session.who.user_id, admitted.at)

    def kicked_since(self, user_id: UserId, at: datetime) -> bool:
        """Whether the user was kicked after `at`."""
        kicked_at = self.kicked_at.get(user_id)
        return kicked_at is not None and at < kicked_at


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a room's log without holes, in rising order."""

    epoch: Epoch
    head: int
    """At least the seq of the last frame."""
    frames: tuple[Frame, ...]


class Group(Protocol):
    """Sessions that are written to at once. Who is added hears what is sent from then on, in order."""

    def add(self, sid: str) -> None:
        """A session more; one that is not connected is left out.

        One that is there already comes anew: what was sent and is not written yet is not for it any more.
        """
        ...

    def discard(self, sid: str) -> None:
        """A session less: it hears nothing more, not even what was sent and is not written yet."""
        ...

    def send(self, body: bytes, exclude: Collection[str] = ()) -> None:
        """Write one event, the ready JSON `["event",payload]`, to all but some. Never waits, never raises."""
        ...


class Audience:
    """The sessions of this node in one room, by user."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._sessions: dict[str, Session] = {}
        self._sids: dict[UserId, set[str]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """From now on the session hears the room."""
        self._sessions[session.sid] = session
        self._group.add(session.sid)
        self._sids.setdefault(session.who.user_id, set()).add(session.sid)

    def discard(self, session: Session) -> None:
        """The session hears the room no more."""
        if self._sessions.pop(session.sid, None) is None:
            return
        self._group.discard(session.sid)
        sids = self._sids[session.who.user_id]
        sids.discard(session.sid)
        if not sids:
            del self._sids[session.who.user_id]

    def send(self, body: bytes, exclude: UserId | None = None) -> None:
        """Write an event to everybody, or to everybody but one user."""
        self._group.send(body, self.sids_of(exclude))

    def sids_of(self, user_id: UserId | None) -> Collection[str]:
        """One user."""
        return self._sids.get(user_id, ()) if user_id else ()

    def sessions(self) -> list[Session]:
        """Everybody, at this moment."""
        return list(self._sessions.values())

    def sessions_of(self, user_id: UserId) -> list[Session]:
        """One user, at this moment."""
        return [self._sessions[sid] for sid in self._sids.get(user_id, ())]


class HostedRoom:
    """Made when the first member comes; forgotten some time after the last one has gone."""

    def __init__(self, room_id: RoomId, record: RoomRecord, page: LogPage, group: Group, now_s: float) -> None:
        """`page` is the end of the log, read after the node began to hear the room's channel.

        `group` is empty, and this room's alone; `now_s` is monotonic.
        """
        self.room_id = room_id
        self.record = record
        self.record_read_at_s: float | None = now_s
        """None: it changed since; it is to be read again before somebody is admitted by it."""
        self.used_at_s = now_s
        self.audience = Audience(group)
        self.occupancy: int = record.room["members"]
        """Members over all nodes, as far as this node has heard."""
        self.start_stream(page)

    def start_stream(self, page: LogPage) -> None:
        """Begin at the end of `page`."""
        self.stream = Stream(Position(page.epoch, page.head))
        self.ring = Ring(page.head - len(page.frames), page.frames)
