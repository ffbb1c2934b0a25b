"""What the use cases need from the outside, and what they may rely on. Adapters and fakes keep the same promises."""

from collections.abc import Collection, Mapping
from typing import Protocol

from realtime_gateway.domain.occupancy import Admission, Departure, Readmission
from room_contracts.codec import Frame
from room_contracts.identity import Identity
from room_contracts.ids import RoomId, UserId


class OccupancyUnavailable(Exception):  # noqa: N818 - a state that callers answer, not a mistake
    """Seats cannot be decided over now: Redis is away, full or read-only.

    Whether the call had an effect is unknown; the next `renew` that succeeds puts it right.
    """


class Occupancy(Protocol):
    """The seats of all rooms over all nodes, asked by one node.

    A decision is atomic over all nodes. Users are counted, not sessions: each admitted session is ended by one `leave`.
    The node counts a session as soon as `admit` returns, and no longer once `leave` is called. Every method that waits
    raises `OccupancyUnavailable`.
    """

    async def admit(self, room_id: RoomId, who: Identity, *, max_members: int, ticket_id: str | None) -> Admission:
        """Ask for a seat for one session. A refusal uses nothing up, the ticket included.

        While a partition recovers only users who have a seat already are admitted.
        """
        ...

    async def leave(self, room_id: RoomId, user_id: UserId) -> Departure:
        """One session of the user on this node ended; the last one anywhere leaves the seat in its grace.

        Works while Redis is full. Where it raises, the session counts as ended all the same.
        """
        ...

    async def remove(self, room_id: RoomId, user_id: UserId) -> Departure:
        """Free the user's seat at once, whatever node holds it (kick, ban).

        All sessions of the user on this node count as ended; a `leave` after it is harmless. Other nodes end theirs
        when they hear of it, by `leave` or by `remove`: they get `absent`.
        """
        ...

    async def renew(self) -> Collection[RoomId]:
        """Renew the lease of every room that this node holds, and settle what earlier failures left open.

        Returns:
            Rooms whose lease was lost: Redis came back empty, or this node was swept. To be restored or readmitted.
        """
        ...

    async def restore(self, room_id: RoomId, seats: Mapping[Identity, int]) -> int:
        """Register again the sessions that this node holds, by user; other sessions of the room stay.

        The seats were granted before, so they are accepted while recovering and over `max`. Only for a node that was
        never late: a late node's seats may be others' by now (`readmit`).

        Returns:
            The room's occupancy.
        """
        ...

    async def readmit(self, room_id: RoomId, seats: Mapping[Identity, int], *, max_members: int) -> Readmission:
        """Like `restore`, after this node was late: seats are taken only as far as there are free ones.

        While the partition recovers nothing is taken: first come the seats of nodes that were not late.
        Refused users count as having no session here.
        """
        ...

    def held(self, room_id: RoomId) -> Mapping[Identity, int]:
        """The sessions that this node holds in the room, by user."""
        ...

    async def sweep(self) -> list[Departure]:
        """Remove seats of nodes whose lease ran out and seats whose grace ended, in all rooms.

        Each departure is returned to exactly one caller in the cluster.
        """
        ...

    async def occupancy(self, rooms: Collection[RoomId]) -> dict[RoomId, int]:
        """Members of each of these rooms; 0 where there are none."""
        ...

    async def has_grant(self, room_id: RoomId, user_id: UserId, access_version: int) -> bool:
        """Whether the user has given the password that the room has at `access_version`."""
        ...

    async def recovering_for_s(self) -> float:
        """How long some partition still recovers; 0: all are settled. Starts the recovery of partitions without one."""
        ...

    async def release_node(self) -> None:
        """Put every seat of this node into its grace: the node stops."""
        ...


class PublishFailed(Exception):  # noqa: N818 - a state that callers answer, not a mistake
    """The event was perhaps not handed to Redis."""


class Publisher(Protocol):
    """Hands ephemeral events to all gateways, this one included: at most once, in the order of awaited calls."""

    async def publish(self, channel: str, frame: Frame) -> None:
        """Publish `frame` on `channel`.

        Raises:
            PublishFailed: Redis is away.
        """
        ...
