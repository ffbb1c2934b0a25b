"""What the use cases need from the outside, and what they may rely on. Adapters and fakes keep the same promises."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gifchat_contracts.codec import Frame
from gifchat_contracts.events import ChatPayload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Pid, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import SendGif, SendText
from gifchat_realtime_gateway.domain.hosted_room import Group
from gifchat_realtime_gateway.domain.room_record import LogPage, RoomRecord
from gifchat_realtime_gateway.domain.saved_session import SavedSession
from gifchat_realtime_gateway.domain.seats import Admission, Departure, Readmission


class SeatsUnavailableError(Exception):
    """Seats cannot be decided over now: Redis is away, full or read-only.

    Whether the call had an effect is unknown; the next `renew` that succeeds puts it right.
    """


class Seats(Protocol):
    """The seats of all rooms over all nodes, asked by one node.

    A decision is atomic over all nodes. Users are counted, not sessions: each admitted session is ended by one `leave`.
    The node counts a session as soon as `admit` returns, and no longer once `leave` is called. Every method that waits
    raises `SeatsUnavailableError`.
    """

    async def admit(self, room_id: RoomId, who: Identity, *, max_members: int, ticket_id: str | None) -> Admission:
        """Ask for a seat for one session. A refusal uses nothing up, the ticket included.

        While a partition recovers only users who have a seat already are admitted.
        """
        ...

    def holds(self, room_id: RoomId, user_id: UserId) -> bool:
        """Whether this node counts a session of the user in the room."""
        ...

    async def leave(self, room_id: RoomId, user_id: UserId) -> Departure:
        """One session of the user on this node ended; the last one anywhere leaves the seat in its grace.

        Works while Redis is full. Where it raises, the session counts as ended all the same.
        """
        ...

    async def remove(self, room_id: RoomId, user_id: UserId) -> Departure:
        """End all sessions of the user on this node, without a grace (kick, ban); a `leave` after it is harmless.

        Every node that has some does it when it hears of it, and the last one frees the seat. A node that hears of it
        late does not touch a seat that the user has taken on another node since.
        """
        ...

    async def renew(self) -> Collection[RoomId]:
        """Renew the lease of every room that this node holds, and settle what earlier failures left open.

        Returns:
            Rooms whose seats may be lost: Redis came back empty, a replica took over, or this node was swept. To be
            restored or readmitted.
        """
        ...

    async def restore(self, room_id: RoomId, seats: Mapping[Identity, int]) -> int:
        """Register again the sessions that this node holds, by user; other nodes' sessions stay.

        What is registered for this node and is not held by it ends at once: it left, and Redis has lost that.

        The seats were granted before, so they are accepted while recovering and over `max`. Only for a node that was
        never late: a late node's seats may be others' by now (`readmit`).

        Returns:
            The room's occupancy.
        """
        ...

    async def readmit(self, room_id: RoomId, seats: Mapping[Identity, int], *, max_members: int) -> Readmission:
        """Like `restore`, after this node was late: seats are taken only as far as there are free ones.

        While the partition recovers nothing is taken until shortly before its end: first come the seats of nodes that
        were not late, then these, then new users.

        Refused users count as having no session here.
        """
        ...

    def held(self, room_id: RoomId) -> Mapping[Identity, int]:
        """The sessions that this node holds in the room, by user."""
        ...

    async def sweep(self) -> list[Departure]:
        """Remove seats of nodes whose lease ran out and seats whose grace ended, in all rooms.

        While a partition recovers its nodes keep their seats.

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


class PublishFailedError(Exception):
    """The event was perhaps not handed to Redis."""


class Nodes(Protocol):
    """The gateways of the cluster. Never raises: while Redis is down it answers from memory."""

    async def address_of(self, tag: str) -> str | None:
        """Return `host:port` of the node with this tag; None if it has no lease or its lease expired."""
        ...

    async def remembers(self, tag: str) -> bool:
        """Whether the node with this tag is live, or its seats may still be in their grace after its lease expired."""
        ...


class ToSave(NamedTuple):
    """A session to be saved."""

    pid: Pid
    session: SavedSession
    kept_s: float
    """How long to keep the session; 0 deletes it."""
    takes_over: bool = False
    """Whether the session takes over the private id, which an earlier session may still own."""


class SavedSessions(Protocol):
    """Sessions that any node can restore. Best effort: never raises."""

    async def save(self, sessions: Sequence[ToSave]) -> bool:
        """Save these, in order; False if the outcome is unknown.

        Skips a session whose private id another session has taken over.
        """
        ...

    async def take(self, pid: Pid, user_id: UserId, *, guest: bool) -> SavedSession | None:
        """Return and delete the session saved under `pid`; None if this user has no such session.

        A guest's session goes to any guest, because only the private id identifies a guest.
        """
        ...


class Publisher(Protocol):
    """Hands ephemeral events to all gateways, this one included: at most once, in the order of awaited calls."""

    async def publish(self, channel: str, frame: Frame) -> None:
        """Publish `frame` on `channel`.

        Raises:
            PublishFailedError: Redis is away.
        """
        ...


class FeedUnavailableError(Exception):
    """The channel cannot be heard now."""


class FeedListener(Protocol):
    """What a feed calls. Neither method blocks or raises."""

    def on_data(self, channel: str, data: bytes) -> None:
        """Take one published message."""
        ...

    def on_reconnected(self, channels: Collection[str]) -> None:
        """Learn that these channels are subscribed again and that messages published meanwhile were lost."""
        ...


class Feed(Protocol):
    """Hears channels: at most once, in the order of publishing while the connection holds.

    After a lost connection it subscribes again to all channels by itself and says so: what was published meanwhile is
    missing, and whoever listens has to find out.
    """

    async def subscribe(self, channel: str) -> None:
        """Hear `channel`; everything published after this returns is handed on.

        Raises:
            FeedUnavailableError: not within a few seconds; the channel is not subscribed.
        """
        ...

    async def unsubscribe(self, channel: str) -> None:
        """Hear `channel` no more. Never raises: without a connection there is nothing to hear."""
        ...


class HistoryUnavailableError(Exception):
    """rooms-api cannot be asked now."""


class RoomHistory(Protocol):
    """Reads rooms and their logs as a majority has them.

    Every method raises `HistoryUnavailableError`; those about one room raise `Refused` with `ROOM_NOT_FOUND` too.
    """

    async def record(self, room_id: RoomId) -> RoomRecord:
        """The hosting record."""
        ...

    async def records(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, RoomRecord]:
        """Hosting records, in one request for up to 1,000; rooms that do not exist are left out."""
        ...

    async def newest(self, room_id: RoomId, limit: int) -> LogPage:
        """The last `limit` entries; `head` is the seq of the last one."""
        ...

    async def after(self, room_id: RoomId, seq: int, limit: int) -> LogPage:
        """The first `limit` entries above `seq`."""
        ...

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """Where each of these rooms is, in one request for up to 1,000; rooms that do not exist are left out."""
        ...


class MessageRelay(Protocol):
    """Hands a member's message to rooms-api."""

    async def relay(self, message: SendText | SendGif, sender: Identity) -> ChatPayload:
        """Post it; returns the stored message.

        Idempotent by `client_message_id`.

        Raises:
            Refused: with the code that a POST would have got; `OUTCOME_UNKNOWN` where no answer came.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says: this user may ask for a seat in this room now, once."""

    room_id: RoomId
    user_id: UserId
    access_version: int
    ticket_id: str


class Signatures(Protocol):
    """Reads and makes what travels signed through hands that are not trusted."""

    def session_of(self, cookie: str) -> str | None:
        """The session id in a session cookie; None if it is forged or too old."""
        ...

    def ticket_of(self, token: str) -> Ticket:
        """What a ticket says.

        Raises:
            Refused: `TICKET_EXPIRED` or `TICKET_INVALID`.
        """
        ...

    def membership(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        """Proof for rooms-api that the user was admitted."""
        ...


class Sockets(Protocol):
    """Writes to the clients of this node. Never waits, never raises: a client that is gone is skipped."""

    def deliver(self, sids: Iterable[str], body: bytes) -> None:
        """Write one event, the ready JSON `["event",payload]`, to these sessions in `/chat`, in order of the calls."""
        ...

    def group(self) -> Group:
        """A new group of sessions in `/chat`, without any."""
        ...

    def deliver_to_lobby(self, body: bytes) -> None:
        """The same to every session in `/room`."""
        ...
