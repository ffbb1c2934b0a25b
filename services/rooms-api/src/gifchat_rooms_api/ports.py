"""What the use cases need from the outside, and what they may rely on. Adapters and fakes keep the same promises."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from gifchat_contracts.codec import Frame
from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_rooms_api.domain.gif import Picture, StoredGif
from gifchat_rooms_api.domain.message import LogEntry
from gifchat_rooms_api.domain.moderation import Sanction
from gifchat_rooms_api.domain.room import Room, RoomChange


class StoreUnavailableError(Exception):
    """The store cannot be reached; nothing was sent to it, or what was sent only read."""


class StoreClosedError(StoreUnavailableError):
    """The process has closed its connection to the store, so no retry can succeed."""


class OutcomeUnknownError(Exception):
    """A write was sent and not confirmed: it may have happened, may yet happen, or may be taken back."""


class Rooms(Protocol):
    """Looking up a room."""

    async def get(self, room_id: RoomId) -> Room | None:
        """The room as a majority has it now; None where there is none.

        Raises:
            StoreUnavailableError: it cannot be told.
        """


Sort = Literal["newest", "members"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of rooms ended: the sort key of its last room (milliseconds, or members), and its id."""

    key: int
    room_id: RoomId


class RoomStore(Rooms, Protocol):
    """All that is kept of rooms.

    What a method returns or confirms is held by a majority in its journal. Every method raises
    `StoreUnavailableError`, every one that writes `OutcomeUnknownError` too.
    """

    async def find(self, room_ids: Collection[RoomId]) -> Sequence[Room]:
        """Those of the rooms that there are, in any order."""

    async def add(self, room: Room) -> None:
        """Store a new room; it is empty from `created_at` on."""

    async def page(self, sort: Sort, title_part: str, after: Place | None, limit: int) -> Sequence[Room]:
        """The next `limit` rooms whose folded title has `title_part` in it, newest or fullest first.

        The order is total: rooms that neither come nor go nor change their key are seen once each over all pages.
        """

    async def change(self, room_id: RoomId, owner_id: UserId, change: RoomChange) -> Room | None:
        """Apply `change` at once; a new password raises the access version.

        Returns:
            The room after it; None where no such room has that owner.
        """

    async def replace_sanctions(self, room: Room, sanctions: Mapping[UserId, Sanction]) -> bool:
        """Put `sanctions` in place of those in `room`; False if they are not the current ones any more."""

    async def remove(self, room_id: RoomId, *, empty_since: datetime | None = None) -> bool:
        """Remove the room and note that what belongs to it is to follow, both or none.

        With `empty_since`: only if it is recorded as empty since then or longer. False: nothing was removed.
        """

    async def removed_before(self, moment: datetime, limit: int) -> Sequence[RoomId]:
        """Rooms that were removed before `moment` and whose removal was not finished."""

    async def finish_removal(self, room_id: RoomId) -> None:
        """Nothing is left of the room: forget that it was."""

    async def occupied(self) -> Mapping[RoomId, int]:
        """The recorded number of members of each room that has any."""

    async def record_occupancy(self, members: Mapping[RoomId, int], now: datetime) -> None:
        """Record the members of these rooms; those with 0 are empty from `now`, unless they were already."""

    async def empty_since(self, moment: datetime, limit: int) -> Sequence[RoomId]:
        """Rooms recorded as empty since `moment` or longer, the longest first."""


class Leadership(Protocol):
    """Which replica does what only one should do."""

    async def acquire(self, ttl_s: float) -> bool:
        """Take or keep the lead for `ttl_s` from now; False: another replica has it.

        At most one has it, by the store's clock, as long as each stops acting when its time is over.

        Raises:
            StoreUnavailableError: it cannot be told.
        """

    async def release(self) -> None:
        """Give it up if this replica has it.

        Raises:
            StoreUnavailableError: it ends by its time.
        """


class OccupancyUnavailableError(Exception):
    """Who is in which room is not known now."""


@dataclass(frozen=True, slots=True)
class Seats:
    """A room's seats as one user sees them."""

    members: int
    seated: bool


@dataclass(frozen=True, slots=True)
class OccupancySnapshot:
    """How many members rooms have."""

    members: Mapping[RoomId, int]
    """Rooms without members are left out."""
    settled: frozenset[int]
    """Partitions of which `members` is the truth. The others came back empty and are being filled again."""


class Occupancy(Protocol):
    """Reads the seats that the gateways keep. Every method raises `OccupancyUnavailableError`."""

    async def members(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, int]:
        """The members of each of these rooms."""

    async def seats(self, room_id: RoomId, user_id: UserId) -> Seats:
        """The room's seats now; seats whose gateway has died count until a gateway sweeps them."""

    async def snapshot(self) -> OccupancySnapshot:
        """All rooms; each partition as it is at one moment."""

    async def certainly_empty(self, room_id: RoomId) -> bool:
        """Whether nobody has a seat, and the partition is settled."""


class AdmissionUnavailableError(Exception):
    """Grants cannot be read or written now."""


class Grants(Protocol):
    """Who has given which room's password. All of it can be lost. Every method raises `AdmissionUnavailableError`."""

    async def remember(self, room_id: RoomId, user_id: UserId, access_version: int) -> None:
        """Remember it for `limits.GRANT_TTL_S`."""

    async def has(self, room_id: RoomId, user_id: UserId, access_version: int) -> bool:
        """Whether the user gave the password of this access version."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and one more every so many seconds."""

    what: str
    """Names the buckets: letters and dashes."""
    burst: int
    every_s: float


class RateLimits(Protocol):
    """Token buckets, shared by all replicas; while the store is away each replica has its own."""

    async def take(self, rate: Rate, whom: str) -> float:
        """Take a token of `whom`.

        Returns:
            0.0, or if there was none the seconds until there is one; then nothing was taken.
        """


class PasswordsBusyError(Exception):
    """More passwords wait to be hashed than can be in a reasonable time."""


class Passwords(Protocol):
    """Slow hashes. Both methods raise `PasswordsBusyError`."""

    async def hash(self, password: str) -> str:
        """A salted hash with its parameters in it."""

    async def matches(self, password: str, password_hash: str) -> bool:
        """Whether the hash is of this password."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A gateway's word that a user was admitted to a room."""

    room_id: RoomId
    user_id: UserId
    access_version: int
    issued_at: datetime
    """Whole seconds, rounded down."""


class Signatures(Protocol):
    """Reads and makes what travels signed through hands that are not trusted."""

    def session_of(self, cookie: str) -> str | None:
        """The session id in a session cookie; None if it is forged or too old."""

    def ticket(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        """A new ticket, good for `limits.TICKET_TTL_S`."""

    def membership_of(self, token: str) -> Membership | None:
        """What a membership says; None if it is forged or too old."""


@dataclass(frozen=True, slots=True)
class SeqTaken:
    """Another writer has the seq of the first entry that was not stored."""

    head: int
    """The log's head, no older than the entry that was in the way."""


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """The first entry that was not stored is in the log already: same user, same key."""

    entry: LogEntry


@dataclass(frozen=True, slots=True)
class Appended:
    """How far an append got: the first `stored` entries are in the log, and what stopped the next."""

    stored: int
    conflict: SeqTaken | KeyTaken | None


class MessageLog(Protocol):
    """The rooms' logs.

    (room, seq) and (room, user, key) are unique. Whatever a method returns is held by a majority in its journal and
    survives a failover. Every method raises `StoreUnavailableError`.
    """

    async def head(self, room_id: RoomId) -> int:
        """The highest seq; 0 where there is no entry."""

    async def append(self, room_id: RoomId, entries: Sequence[LogEntry]) -> Appended:
        """Store `entries` one after the other and stop at the first that conflicts.

        Not atomic: at any time, and after any failure, what is stored is a beginning of `entries`.

        Raises:
            OutcomeUnknownError: how many were stored is not known.
        """

    async def find(
        self, room_id: RoomId, identities: Collection[tuple[UserId, str]]
    ) -> Mapping[tuple[UserId, str], LogEntry]:
        """The entries of these (user, key); those that are not there are left out."""

    async def last_posted(
        self, room_id: RoomId, user_ids: Collection[UserId], since: datetime
    ) -> Mapping[UserId, datetime]:
        """When each of the users last wrote a message after `since`; those who did not are left out."""

    async def redact(self, room_id: RoomId, seq: int) -> LogEntry | None:
        """Take text and GIF out of the message at `seq`; the same again is the same. None: no message is there.

        Raises:
            OutcomeUnknownError: perhaps it still shows.
        """

    async def after(self, room_id: RoomId, seq: int, limit: int) -> Sequence[LogEntry]:
        """The first `limit` entries above `seq`, in rising order."""

    async def before(self, room_id: RoomId, seq: int | None, limit: int) -> Sequence[LogEntry]:
        """The last `limit` entries below `seq` (None: of all), in rising order."""

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """Epoch and head of each of these rooms, in one query; rooms that do not exist are left out."""

    async def written_since(self, moment: datetime) -> Collection[RoomId]:
        """The rooms that have an entry made at `moment` or later, by the clocks of its writers."""
        ...

    async def remove_room(self, room_id: RoomId) -> None:
        """Remove all entries of a room that is gone.

        Raises:
            OutcomeUnknownError: some may be left.
        """


class Publisher(Protocol):
    """Hands events to the gateways.

    At least once and in the order of the calls, as long as the process lives and its queue does not overflow; lost
    otherwise. Readers repair durable events from the log.
    """

    def publish(self, channel: str, frame: Frame) -> None:
        """Queue `frame` for `channel`; never waits, never raises."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What decoding a picture gave."""

    still: bytes
    """The first frame as PNG, turned upright, at most `domain.gif.STILL_MAX_SIDE` pixels on its longer side."""
    turned: bytes | None
    """The picture anew, in its own format and upright, where its orientation asked for that."""


class GifDecoder(Protocol):
    """Decodes pictures where they can do no harm."""

    async def decode(self, picture: Picture) -> Decoded:
        """Decode every frame.

        Raises:
            Refused: `GIF_BROKEN`: a frame does not decode, or took more than a picture may take. `UNAVAILABLE`: too
                many are waiting, or this machine is too busy.
        """


class GifFile(Protocol):
    """A stored file, open for reading."""

    @property
    def content_type(self) -> str:
        """Its media type."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes, in hex."""

    def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces; once. Raises `StoreUnavailableError`."""


class GifStore(Protocol):
    """The GIFs by the SHA-256 of their bytes, each once, each with a still.

    Every method raises `StoreUnavailableError`; what was asked may have happened nevertheless, and asking for the same
    again is always safe.
    """

    async def use(self, gif_id: GifId, now: datetime) -> StoredGif | None:
        """Find a GIF and mark it as used at `now`, in one step: it stays at least as long as after an upload."""

    async def put(self, gif: StoredGif, data: bytes, still: bytes, now: datetime) -> None:
        """Keep `gif`, used at `now`. Of any number of puts of one GIF, at once or later, one copy is kept."""

    async def open(self, gif_id: GifId, extension: str) -> GifFile | None:
        """The GIF's own file; None also where `extension` is not its format's."""

    async def open_still(self, gif_id: GifId) -> GifFile | None:
        """The still of the GIF."""

    async def remove_unreferenced(self, unused_since: datetime, in_flight_since: datetime, now: datetime) -> int:
        """Remove GIFs that no message shows and that were last used before `unused_since`; returns how many.

        A GIF that is used in the meantime stays. Takes a bounded number at a time. What unfinished puts and removals
        left behind goes too, where they began before `in_flight_since`.
        """
