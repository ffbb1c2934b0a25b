"""The ports: what the use cases need, and the guarantees they rely on. Adapters and fakes keep the same guarantees."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType, Protocol

from gifchat_chassis.revocations import Revocation
from gifchat_contracts.codec import Frame
from gifchat_contracts.grants import Grant
from gifchat_contracts.ids import GifId, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_rooms_api.domain.gif import Picture, StoredGif
from gifchat_rooms_api.domain.message import LogEntry
from gifchat_rooms_api.domain.moderation import Sanction
from gifchat_rooms_api.domain.room import Room, RoomPatch

# --------------------------------------------------------------------------------------------------- the database


class StoreUnavailableError(Exception):
    """The store cannot be reached, or failed. Nothing was written, or the call is safe to repeat."""


class StoreClosedError(StoreUnavailableError):
    """This process has closed its connection to the store, so no retry can succeed."""


class OutcomeUnknownError(Exception):
    """A write was sent but not confirmed: it may have happened, may still happen, or may be rolled back."""


# ---------------------------------------------------------------------------------------------------------- rooms


class Rooms(Protocol):
    """Looks up a room; raises `StoreUnavailableError`."""

    async def get(self, room_id: RoomId) -> Room | None:
        """Return the room as a majority of the replica set has it, or None if it does not exist."""


Sort = Literal["newest", "members"]


@dataclass(frozen=True, slots=True)
class RoomCursor:
    """The end of a page of rooms: the id and sort key of its last room. The key is in milliseconds or members."""

    key: int
    room_id: RoomId


class RoomStore(Rooms, Protocol):
    """Stores rooms.

    Everything that a method returns or confirms is journaled on a majority. Every method raises
    `StoreUnavailableError`. Methods that write also raise `OutcomeUnknownError`.
    """

    async def find(self, room_ids: Collection[RoomId]) -> Sequence[Room]:
        """Return the rooms that exist, in any order."""

    async def add(self, room: Room) -> None:
        """Store a new room. It counts as empty from `created_at`."""

    async def count_owned(self, owner_id: UserId, owner_address: str) -> tuple[int, int]:
        """Return how many rooms the user has, and how many rooms the address has created that still exist."""

    async def page(
        self, sort: Sort, title_part: str, after: RoomCursor | None, limit: int, *, unentered_since: datetime
    ) -> Sequence[Room]:
        """Return the next `limit` rooms whose folded title contains `title_part`, newest or most members first.

        Leaves out rooms that were created before `unentered_since` and in which no member was ever recorded.
        No two rooms share a place in the order. A room that keeps its title and sort key is on exactly one page.
        """

    async def change(self, room_id: RoomId, owner_id: UserId, patch: RoomPatch) -> Room | None:
        """Apply `patch` atomically, and return the changed room, or None if `owner_id` owns no such room.

        Setting or removing the password increases the access version.
        """

    async def replace_sanctions(self, room: Room, sanctions: Mapping[UserId, Sanction]) -> bool:
        """Replace the sanctions of `room`; False if the room is gone, or its sanctions changed since it was read."""

    async def remove(self, room_id: RoomId, *, empty_since: datetime | None = None) -> bool:
        """Remove the room and record, in the same transaction, that its log must still be removed.

        With `empty_since`, remove it only if it is recorded as empty since then or earlier. False if not removed.
        """

    async def removed_before(self, moment: datetime, limit: int) -> Sequence[RoomId]:
        """Return rooms that were removed before `moment` and whose removal is not finished."""

    async def finish_removal(self, room_id: RoomId) -> None:
        """Delete the record of a removed room, after its log was removed."""

    async def occupied(self) -> Mapping[RoomId, int]:
        """Return the recorded number of members of every room that has any."""

    async def record_occupancy(self, members: Mapping[RoomId, int], now: datetime) -> None:
        """Record the number of members of these rooms.

        A room with 0 members counts as empty from `now`, unless it is already recorded as empty.
        """

    async def empty_since(self, moment: datetime, limit: int) -> Sequence[RoomId]:
        """Return rooms recorded as empty since `moment` or earlier, longest empty first."""


class Leadership(Protocol):
    """Elects the one replica that runs a task.

    Both methods raise `StoreUnavailableError`. Leadership that is not released ends when its time is up.
    """

    async def acquire(self, ttl_s: float) -> bool:
        """Take or renew leadership for `ttl_s` seconds from now; False if another replica leads.

        At most one replica leads at a time, by the store's clock. Each must stop acting when its time is up.
        """

    async def release(self) -> None:
        """Give up leadership if this replica has it."""


class Revocations(Protocol):
    """Remembers which sessions were signed out, for as long as a cookie of theirs could be valid.

    Both methods raise `StoreUnavailableError`.
    """

    async def add(self, user_id: UserId) -> Revocation:
        """Revoke the session of this user durably, and return the revocation. Repeating this changes nothing."""

    async def since(self, at_ms: int) -> Sequence[Revocation]:
        """See `gifchat_chassis.revocations.ReadRevocations`, except for the error."""


# ------------------------------------------------------------------------------------------- seats and admission


class OccupancyUnavailableError(Exception):
    """The seats cannot be read now."""


@dataclass(frozen=True, slots=True)
class RoomOccupancy:
    """A room's seats as one user sees them."""

    members: int
    seated: bool
    """Whether the user has a seat, including one in its grace."""
    settled: bool
    """Whether the seats are complete. If not, Redis came back empty, and gateways are registering their seats again."""


@dataclass(frozen=True, slots=True)
class Member:
    """A user with a seat."""

    user_id: UserId
    color: str
    connected: bool
    """False in the grace of the seat."""


@dataclass(frozen=True, slots=True)
class MembersPage:
    """Some of a room's members."""

    members: Sequence[Member]
    next_cursor: int
    """0 on the last page."""


@dataclass(frozen=True, slots=True)
class OccupancySnapshot:
    """The number of members of each room."""

    members: Mapping[RoomId, int]
    """Leaves out rooms without members."""
    settled: frozenset[int]
    """Partitions for which `members` is complete. The others came back empty, and gateways are refilling them."""


class Occupancy(Protocol):
    """Reads the seats that the gateways keep. Every method raises `OccupancyUnavailableError`."""

    async def members(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, int]:
        """Return the number of members of each of these rooms."""

    async def seated(self, room_id: RoomId, user_id: UserId) -> bool:
        """Return whether the user has a seat, or had one within the last second."""

    async def for_user(self, room_id: RoomId, user_id: UserId) -> RoomOccupancy:
        """Return the room's seats now. Seats of a dead gateway count until another gateway sweeps them."""

    async def page(self, room_id: RoomId, cursor: int, limit: int) -> MembersPage:
        """Return about `limit` of the room's members. A member who stays is on at least one of the pages."""

    async def snapshot(self) -> OccupancySnapshot:
        """Return the number of members of each room. Partitions are read one after another, at different moments."""

    async def certainly_empty(self, room_id: RoomId) -> bool:
        """Return whether nobody has a seat in the room and its partition is settled."""


class AdmissionUnavailableError(Exception):
    """Grants cannot be read or written now."""


class Grants(Protocol):
    """Remembers which users have given a room's password.

    Grants are a convenience and may be lost. Every method raises `AdmissionUnavailableError`.
    """

    async def remember(self, room_id: RoomId, user_id: UserId, grant: Grant) -> None:
        """Remember the grant for `limits.GRANT_TTL_S`."""

    async def get(self, room_id: RoomId, user_id: UserId) -> Grant | None:
        """Return the user's newest grant for the room, or None."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate limit: `burst` tokens at once, and one more every `refill_s` seconds."""

    name: str
    """Names the buckets: letters and dashes."""
    burst: int
    refill_s: float


class RateLimits(Protocol):
    """Token buckets, either local or shared by all replicas. While the store is down, shared ones become local."""

    async def take(self, rate: Rate, subject: str, tokens: int = 1) -> float:
        """Take tokens from the bucket of `subject` and return 0.0; if it has fewer, return the seconds to wait.

        More tokens than `rate.burst` count as `rate.burst`, so that a full bucket is always enough.
        """


class PasswordsBusyError(Exception):
    """Too many passwords are waiting to be hashed."""


class Passwords(Protocol):
    """Hashes passwords, slowly on purpose. Both methods raise `PasswordsBusyError`."""

    async def hash(self, password: str) -> str:
        """Return a salted hash that includes its parameters."""

    async def matches(self, password: str, password_hash: str) -> bool:
        """Return whether the password matches the hash."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A gateway's signed statement that it admitted a user to a room."""

    room_id: RoomId
    user_id: UserId
    access_version: int
    issued_at: datetime
    """Whole seconds, rounded down."""


class Signatures(Protocol):
    """Makes and verifies the signed tokens that clients carry."""

    def session_of(self, cookie: str) -> str | None:
        """Return the session id in a session cookie, or None if the cookie is forged or expired."""

    def ticket(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        """Return a new ticket, valid for `limits.TICKET_TTL_S`."""

    def membership_of(self, token: str) -> Membership | None:
        """Return the content of a membership token, or None if the token is forged or expired."""


# ------------------------------------------------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class SeqTaken:
    """Another writer already has the seq of the first entry that was not stored."""

    head: int
    """The log's head; it includes the conflicting entry."""


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """The first entry that was not stored is already in the log, with the same user and key."""

    entry: LogEntry


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of an append: the log holds the first `stored` entries, and `conflict` stopped the next one."""

    stored: int
    conflict: SeqTaken | KeyTaken | None


class MessageLog(Protocol):
    """The rooms' logs.

    (room, seq) and (room, user, key) are unique. Everything that a method returns is journaled on a majority and
    survives a failover. Every method raises `StoreUnavailableError`. `append`, `redact` and `remove_room` also raise
    `OutcomeUnknownError`: all, some or none of the write may have happened.
    """

    async def head(self, room_id: RoomId) -> int:
        """Return the highest seq, or 0 if the log is empty."""

    async def append(self, room_id: RoomId, entries: Sequence[LogEntry]) -> Appended:
        """Store `entries` in order and stop at the first that conflicts.

        Not atomic, but the stored entries are always a prefix of `entries`, even after a failure.
        """

    async def find(
        self, room_id: RoomId, identities: Collection[tuple[UserId, str]]
    ) -> Mapping[tuple[UserId, str], LogEntry]:
        """Return the entries with these (user, key) pairs; pairs without an entry are left out."""

    async def last_posted(
        self, room_id: RoomId, user_ids: Collection[UserId], since: datetime
    ) -> Mapping[UserId, datetime]:
        """Return when each user last posted a message after `since`; users who did not are left out."""

    async def messages_of(self, room_id: RoomId, user_id: UserId, limit: int) -> Sequence[int]:
        """Return the seqs of the user's newest `limit` messages that are not redacted, newest first."""

    async def redact(self, room_id: RoomId, seq: int) -> LogEntry | None:
        """Redact the message at `seq`, and return it; idempotent. None if no message has this seq."""

    async def after(self, room_id: RoomId, seq: int, limit: int, max_bytes: int) -> Sequence[LogEntry]:
        """Return the first `limit` entries above `seq`, in ascending order.

        Stops early when the entries exceed `max_bytes` (`domain.message.size_of`), but not after the first. The last
        entry then shows that there is more than fits.
        """

    async def before(self, room_id: RoomId, seq: int | None, limit: int, max_bytes: int) -> Sequence[LogEntry]:
        """Return the last `limit` entries below `seq` (None: of the whole log), in ascending order.

        Reads from the newest to the oldest, and stops as `after` does.
        """

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """Return epoch and head of each room, in one query; rooms that do not exist are left out."""

    async def written_since(self, moment: datetime) -> Collection[RoomId]:
        """Return the rooms with an entry made at `moment` or later, by the writers' clocks."""

    async def remove_room(self, room_id: RoomId) -> None:
        """Remove all entries of a room that no longer exists."""


class Publisher(Protocol):
    """Publishes events to the gateways.

    Publishes each event at least once and in call order, unless the process dies or its queue overflows. A gateway
    that misses an event reads it from the log if it is a log entry.
    """

    def publish(self, channel: str, frame: Frame) -> None:
        """Queue `frame` for `channel`; never waits, never raises."""


# ----------------------------------------------------------------------------------------------------------- GIFs


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """The result of decoding a picture."""

    still: bytes
    """The first frame as PNG, at most `domain.gif.STILL_MAX_SIDE` pixels on its longer side."""
    repaired: bytes | None
    """The file to store instead: rotated, or without damaged, missing or surplus pixels. None if it needs no repair."""


class GifDecoder(Protocol):
    """Decodes untrusted pictures in isolation."""

    async def decode(self, picture: Picture, address: str) -> DecodedPicture:
        """Decode every frame, and repair what browsers forgive. Each address gets an equal share of the decoders.

        If the caller is cancelled, the picture leaves the queue or its decoder is stopped.

        Raises:
            Refused: `GIF_BROKEN` if the picture does not decode, or decoding exceeds a resource limit. `UNAVAILABLE` if
                too many pictures are waiting, or the deadline passes.
        """


BlobId = NewType("BlobId", str)
"""24 hex digits. A new one for every put, never reused."""


class Blob(Protocol):
    """A stored blob, open for reading."""

    def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop` in pieces. Call it once.

        Raises `StoreUnavailableError` if the blob cannot be read, or ends before `stop`.
        """


class BlobStore(Protocol):
    """Stores immutable bytes by id. It knows nothing about GIFs, so that an object store can implement it.

    The caller never puts an id twice, not even with the same content. Deleting the blobs of one upload therefore
    never affects those of another upload of the same GIF.

    Every method raises `StoreUnavailableError`. The call may then have taken effect, and repeating it is safe.
    """

    async def put(self, blob_id: BlobId, data: bytes) -> None:
        """Store `data` durably, or fail within 20 seconds. Every replica can open the blob afterwards."""

    async def open(self, blob_id: BlobId) -> Blob | None:
        """Open the blob, or return None if it does not exist."""

    async def delete(self, blob_id: BlobId) -> None:
        """Delete the blob and anything that an interrupted put left behind; no-op if it does not exist."""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A GIF record's reference to a blob."""

    blob_id: BlobId
    size: int
    """Bytes."""
    digest: str
    """The SHA-256 of the content, in hex."""


@dataclass(frozen=True, slots=True)
class GifRecord:
    """A GIF and the blobs that hold it."""

    gif: StoredGif
    file: BlobRef
    still: BlobRef

    @property
    def blob_ids(self) -> tuple[BlobId, BlobId]:
        """The ids of both blobs."""
        return self.file.blob_id, self.still.blob_id


@dataclass(frozen=True, slots=True)
class PendingBlobs:
    """Blobs that some process was about to store or delete."""

    pending_id: str
    gif_id: GifId
    blob_ids: tuple[BlobId, ...]


class Gifs(Protocol):
    """Keeps one record per GIF: which blobs hold it and when it was last used. Finds GIFs that no message shows.

    Records and blobs are stored separately. Callers keep this order, so that a crash at any step does no harm:

    - Upload: `mark_pending`, put both blobs, `add` the record, `clear_pending`.
    - Removal: `mark_pending`, `remove` the record, delete both blobs, `clear_pending`.

    No record is dangling, because a record exists only while its blobs do. No blob stays orphaned, because
    `stale_pending` finds the blobs of an interrupted upload or removal. An upload ends within
    `domain.gif.IN_FLIGHT_MAX`, so older pending blobs belong to no running upload.

    Every method raises `StoreUnavailableError`. The call may then have taken effect, and repeating it is safe.
    """

    async def get(self, gif_id: GifId) -> GifRecord | None:
        """Return the record of a GIF, or None if the GIF is unknown."""

    async def use(self, gif_id: GifId, now: datetime) -> StoredGif | None:
        """Find a GIF and mark it as used at `now`, atomically. It then stays as long as a new upload would."""

    async def add(self, record: GifRecord, now: datetime) -> GifRecord:
        """Add `record` unless the GIF has one, and mark the GIF as used at `now`, or fail within 5 seconds.

        Return the stored record: the first one, if several uploads add the same GIF.
        """

    async def unreferenced(self, unused_since: datetime, now: datetime) -> Sequence[GifRecord]:
        """Return GIFs that no message shows and that were last used before `unused_since`.

        Checks a bounded number of GIFs. Those that a message shows are marked as used at `now`.
        """

    async def remove(self, record: GifRecord, unused_since: datetime) -> bool:
        """Remove `record` unless it was replaced, or used at `unused_since` or later; False if it stays."""

    async def mark_pending(self, gif_id: GifId, blob_ids: Sequence[BlobId], now: datetime) -> str:
        """Record that these blobs are about to be stored or deleted, or fail within 5 seconds.

        Return the id for `clear_pending`.
        """

    async def clear_pending(self, pending_id: str) -> None:
        """Forget pending blobs: their upload or removal is complete."""

    async def stale_pending(self, before: datetime) -> Sequence[PendingBlobs]:
        """Return a bounded number of pending blobs that were marked before `before`, oldest first."""


@dataclass(frozen=True, slots=True)
class GifAddress:
    """A valid address: a GIF in a room."""

    record: GifRecord
    shown: bool
    """Whether a message of the room shows the GIF. Otherwise it was uploaded there and is not posted yet."""


class GifAddresses(Protocol):
    """Knows which GIFs each room serves. Every method raises `StoreUnavailableError`.

    The address of a GIF in a room is valid while a message of the room shows the GIF. Before that, it is valid for a
    while after an upload, unless a message with this GIF was deleted in the room. It dies with the room. When the log
    or the room store confirms a write, every replica sees it here.
    """

    async def find(self, room_id: RoomId, gif_id: GifId, now: datetime) -> GifAddress | None:
        """Return the address, or None if it is not valid."""

    async def add_upload(self, room_id: RoomId, user_id: UserId, gif_id: GifId, until: datetime) -> None:
        """Remember until `until` that the user uploaded the GIF into the room."""

    async def may_post(self, user_id: UserId, gif_id: GifId, now: datetime) -> bool:
        """Return whether the user uploaded the GIF, or a message of any room shows it.

        A client that knows only the id of a deleted GIF cannot bring the GIF back.
        """
