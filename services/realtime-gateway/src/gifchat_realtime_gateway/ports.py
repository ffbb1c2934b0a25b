"""What the use cases need from outside, with guarantees. Adapters and fakes give the same guarantees."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, NewType, Protocol

from gifchat_contracts.codec import Frame
from gifchat_contracts.grants import Grant
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Pid, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import SendGif, SendText
from gifchat_realtime_gateway.domain.hosted_room import Group
from gifchat_realtime_gateway.domain.room_record import LogPage, RoomRecord
from gifchat_realtime_gateway.domain.saved_session import SavedSession
from gifchat_realtime_gateway.domain.seats import Admission, Departure, Readmission


class SeatsUnavailableError(Exception):
    """No decision about seats is possible now: Redis is down, full or read-only.

    It is unknown whether the call had an effect. The next successful `renew` settles it.
    """


class Seats(Protocol):
    """One node's access to the seats of all rooms on all nodes.

    A decision is atomic across all nodes. A seat belongs to a user, not to a session. Each admitted session ends with
    one `leave`. The node counts a session from when `admit` returns until `leave` is called. Every coroutine can raise
    `SeatsUnavailableError`.
    """

    async def admit(
        self, room_id: RoomId, who: Identity, *, max_members: int | None, ticket_id: str | None
    ) -> Admission:
        """Ask for a seat for one session. A refusal does not use up the ticket.

        `max_members` is None for the room's owner, who can enter a full room. The owner counts as a member, so nobody
        else is admitted above `max`.

        While a partition recovers, only users who already have a seat are admitted.
        """

    def holds(self, room_id: RoomId, user_id: UserId) -> bool:
        """Whether this node counts a session of the user in the room. Does not ask Redis."""

    async def leave(self, room_id: RoomId, user_id: UserId, *, guest: bool = False) -> Departure:
        """End one session of the user on this node. After the user's last session anywhere, the seat's grace begins.

        The grace of a `guest` is shorter.

        Works while Redis is full. Even if this raises, the session counts as ended.
        """

    async def remove(self, room_id: RoomId, user_id: UserId) -> Departure:
        """End all sessions of the user on this node, without a grace (kick, ban). A later `leave` is a no-op.

        Every node that has such sessions calls this, and the last one frees the seat. A late call does not touch a seat
        that the user has since taken on another node.
        """

    async def renew(self) -> Collection[RoomId]:
        """Renew this node's lease in every room where it has sessions, and settle calls with an unknown outcome.

        Returns:
            Rooms whose seats may be lost, because Redis restarted empty, a replica took over, or this node was swept.
            The caller restores or readmits them.
        """

    async def restore(self, room_id: RoomId, seats: Mapping[Identity, int]) -> int:
        """Register this node's sessions again, by user. Other nodes' sessions stay.

        Sessions that are registered for this node but not held by it end at once: Redis has lost their `leave`.

        The seats were granted before, so they are accepted during recovery and even above `max`. A node that was late
        must call `readmit` instead, because others may have its seats.

        Returns:
            The room's occupancy.
        """

    async def readmit(
        self, room_id: RoomId, seats: Mapping[Identity, int], *, max_members: int, owner_id: UserId | None
    ) -> Readmission:
        """Register this node's sessions after it was late. Takes only free seats. The owner needs no free seat.

        While the partition recovers, this takes no seats until shortly before the end of the recovery. So nodes that
        were not late get seats first, then late nodes, then new users.

        Refused users count as having no session on this node.
        """

    def held(self, room_id: RoomId) -> Mapping[Identity, int]:
        """Return this node's sessions in the room, by user."""

    async def sweep(self) -> list[Departure]:
        """Free the seats of nodes with an expired lease and the seats whose grace ended, in all rooms.

        While a partition recovers, nodes keep their seats.

        Each departure is returned to exactly one caller in the cluster.
        """

    async def count_address(self, whose: str, seats: int, *, kept_s: float) -> int:
        """Record for `kept_s` that this node holds `seats` seats for an address. Return the seats on all nodes."""

    async def grant(self, room_id: RoomId, user_id: UserId) -> Grant | None:
        """Return the user's newest grant for the room, or None."""

    async def recovering_for_s(self) -> float:
        """Return the seconds until all partitions have recovered; 0 if they have. May start a partition's recovery."""

    async def release_node(self) -> None:
        """End this node's sessions, because it is stopping. Seats without sessions on other nodes enter their grace."""


class PublishFailedError(Exception):
    """Redis may not have received the event."""


class Nodes(Protocol):
    """The gateways of the cluster. Never raises: while Redis is down it answers from memory."""

    async def address_of(self, tag: str) -> str | None:
        """Return `host:port` of the node with this tag; None if it has no lease or its lease expired."""

    async def remembers(self, tag: str) -> bool:
        """Whether the node with this tag is live, or its lease expired less than a seat's grace ago."""


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
        """Save the sessions in order; return False if the outcome is unknown.

        Skips a session whose private id another session has taken over.
        """

    async def take(self, pid: Pid, user_id: UserId, *, guest: bool) -> SavedSession | None:
        """Return and delete the session saved under `pid`; None if this user has no such session.

        Any guest who sends the private id gets a guest's session, because nothing else identifies a guest.
        """


class Publisher(Protocol):
    """Publishes ephemeral events to all gateways, this one included: at most once, in the order of awaited calls."""

    async def publish(self, channel: str, frame: Frame) -> None:
        """Publish `frame` on `channel`.

        Raises:
            PublishFailedError: Redis did not confirm the event.
        """


class FeedUnavailableError(Exception):
    """The channel cannot be subscribed now."""


class FeedListener(Protocol):
    """Callbacks of a feed. Neither method blocks or raises."""

    def on_data(self, channel: str, data: bytes) -> None:
        """Handle one published message."""

    def on_reconnected(self, channels: Collection[str]) -> None:
        """Called when these channels are subscribed again. Messages published in between were lost."""


class Feed(Protocol):
    """Subscribes to channels. Delivers each message at most once, and in order while the connection lasts.

    After a lost connection the feed subscribes to all channels again and calls its listener. Messages published
    in between are lost, and the listener has to find out which.
    """

    async def subscribe(self, channel: str) -> None:
        """Subscribe to `channel`. The listener gets everything that is published after this returns.

        Raises:
            FeedUnavailableError: Redis did not confirm within a few seconds. The channel is not subscribed.
        """

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from `channel`. Never raises, even without a connection."""


class HistoryUnavailableError(Exception):
    """rooms-api is down."""


class RoomHistory(Protocol):
    """Reads rooms and their logs, as committed to a majority of the database's servers.

    Every method can raise `HistoryUnavailableError`. Those for one room can also raise `Refused` (`ROOM_NOT_FOUND`).

    rooms-api bounds a page by its bytes too. A page may therefore have fewer than `limit` entries although there are
    more, but it has at least one if there is one.
    """

    async def record(self, room_id: RoomId) -> RoomRecord:
        """Return the hosting record."""

    async def records(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, RoomRecord]:
        """Return the hosting records of up to 1,000 rooms, in one request. Skips rooms that do not exist."""

    async def newest(self, room_id: RoomId, limit: int) -> LogPage:
        """Return the last `limit` entries, or fewer. `head` is the seq of the last one."""

    async def after(self, room_id: RoomId, seq: int, limit: int) -> LogPage:
        """Return the first `limit` entries above `seq`, or fewer."""

    async def before(self, room_id: RoomId, seq: int, limit: int) -> LogPage:
        """Return the last `limit` entries below `seq`, or fewer."""

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """Return the heads of up to 1,000 rooms, in one request. Skips rooms that do not exist."""


EncodedMessage = NewType("EncodedMessage", str)
"""A stored message in JSON, as rooms-api encoded it."""


class MessageRelay(Protocol):
    """Posts a member's message to rooms-api."""

    async def relay(self, message: SendText | SendGif, sender: Identity, address: str) -> EncodedMessage:
        """Post the message and return it as stored. `address` is the sender's, in the form that limits use.

        Idempotent by `client_message_id`.

        Raises:
            Refused: rooms-api's refusal (`whole_address` says whether all users of the address are refused in this
                room), `UNAVAILABLE` if it is unreachable, or `OUTCOME_UNKNOWN` if it did not answer.
        """


@dataclass(frozen=True, slots=True)
class Ticket:
    """The content of a ticket. It lets this user ask for a seat in this room once, before it expires."""

    room_id: RoomId
    user_id: UserId
    access_version: int
    ticket_id: str
    issued_at: datetime
    """Whole seconds, rounded down."""


class Signatures(Protocol):
    """Verifies and issues the signed tokens that clients carry."""

    def session_of(self, cookie: str) -> str | None:
        """Return the session id in a session cookie, or None if the cookie is forged or expired."""

    def ticket_of(self, token: str) -> Ticket:
        """Return the content of a ticket.

        Raises:
            Refused: `TICKET_EXPIRED` or `TICKET_INVALID`.
        """

    def membership(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        """Return a proof for rooms-api that the user was admitted."""


class Sockets(Protocol):
    """Writes to the clients of this node. Never blocks, never raises. Skips disconnected clients."""

    def deliver(self, sids: Iterable[str], body: bytes) -> None:
        """Write one event, encoded as `["event",payload]`, to these sessions in `/chat`. Keeps the order of calls."""

    def group(self) -> Group:
        """Return a new, empty group of sessions in `/chat`."""

    def deliver_to_lobby(self, body: bytes) -> None:
        """Write one event to every session in `/room`."""
