"""The fake of `gifchat_realtime_gateway.adapters.rooms_api_client`: rooms and logs in memory, with fault injection."""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gifchat_contracts import errors, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import ChatDeletedPayload, ChatPayload, RoomPayload, body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import SendGif, SendText
from gifchat_realtime_gateway.domain.room_record import Forever, LogPage, RoomRecord
from gifchat_realtime_gateway.ports import EncodedMessage, HistoryUnavailableError

CREATED_AT = "2026-01-01T00:00:00.000Z"
FIRST_EPOCH = Epoch("e" * 16)


@dataclass
class StoredRoom:
    """A room in rooms-api. A test may change it, and must publish the change itself if gateways are to get it."""

    room_id: RoomId
    payload: RoomPayload
    epoch: Epoch = FIRST_EPOCH
    access_version: int = 1
    banned_until: dict[UserId, datetime | Forever] = field(default_factory=dict)
    kicked_at: dict[UserId, datetime] = field(default_factory=dict)
    kicked_until: dict[UserId, datetime] = field(default_factory=dict)
    muted_until: dict[UserId, datetime | Forever] = field(default_factory=dict)
    log: list[Frame] = field(default_factory=list)
    messages: dict[tuple[UserId, str], ChatPayload] = field(default_factory=dict)

    def say(self, text: str, sender: Identity, client_message_id: str | None = None) -> Frame:
        """Store a message."""
        seq = len(self.log) + 1
        key = (sender.user_id, client_message_id or f"m-{seq}")
        payload: ChatPayload = {
            "_id": f"{seq:024x}",
            "room": self.room_id,
            "epoch": self.epoch,
            "seq": seq,
            "user": sender.color,
            "user_id": sender.user_id,
            "chat": text,
            "createdAt": CREATED_AT,
            "client_message_id": key[1],
        }
        self.messages[key] = payload
        self.log.append(Frame(Kind.CHAT, body(socket_events.CHAT, payload), self.epoch, seq))
        return self.log[-1]

    def delete(self, target_seq: int) -> Frame:
        """Store the deletion of a message, and remove its content."""
        seq = len(self.log) + 1
        [message] = [message for message in self.messages.values() if message["seq"] == target_seq]
        del message["chat"]
        message["deleted"] = True
        self.log[target_seq - 1] = self.log[target_seq - 1]._replace(body=body(socket_events.CHAT, message))
        payload: ChatDeletedPayload = {
            "room": self.room_id,
            "epoch": self.epoch,
            "seq": seq,
            "target_seq": target_seq,
            "target_id": message["_id"],
            "createdAt": CREATED_AT,
        }
        self.log.append(Frame(Kind.CHAT_DELETED, body(socket_events.CHAT_DELETED, payload), self.epoch, seq))
        return self.log[-1]

    def record(self) -> RoomRecord:
        """Return the record that a gateway would get now."""
        return RoomRecord(
            {**self.payload},
            self.epoch,
            self.access_version,
            {**self.banned_until},
            {**self.kicked_at},
            {**self.kicked_until},
            {**self.muted_until},
        )

    def restart(self, epoch: Epoch) -> None:
        """Start a new epoch with an empty history."""
        self.epoch = epoch
        self.log.clear()
        self.messages.clear()


class FakeRoomsApi:
    """`gifchat_realtime_gateway.ports.RoomHistory` and `MessageRelay` in memory."""

    def __init__(self) -> None:
        self.rooms: dict[RoomId, StoredRoom] = {}
        self.down = False
        """Whether every call fails."""
        self.calls: Counter[str] = Counter()
        """The number of calls by name, including failed ones."""
        self.called_at_s: list[float] = []
        """The time of each call except `relay`."""
        self.messages_left: dict[tuple[RoomId, str], int] = {}
        """How many messages an address may still relay into a room; without an entry, any number."""
        self.page_max_entries = 500
        """Pages are never longer than this. The real pages are bounded by bytes instead."""
        self._held: set[str] = set()
        self._released = asyncio.Event()

    def hold(self, *calls: str) -> None:
        """Delay the answers to these calls. Except for `relay`, they show the state at the time of the call."""
        self._held.update(calls)
        self._released.clear()

    def release(self) -> None:
        """Send all delayed answers."""
        self._held.clear()
        self._released.set()

    def create(
        self, room_id: RoomId, *, max_members: int = 10, private: bool = False, owner: Identity | None = None
    ) -> StoredRoom:
        """Create a room."""
        payload: RoomPayload = {
            "_id": room_id,
            "title": "a room",
            "max": max_members,
            "private": private,
            "owner": owner.color if owner else "#000000",
            "owner_id": owner.user_id if owner else UserId("0" * 24),
            "slow_mode_s": 0,
            "createdAt": CREATED_AT,
            "members": 0,
        }
        self.rooms[room_id] = StoredRoom(room_id, payload)
        return self.rooms[room_id]

    async def record(self, room_id: RoomId) -> RoomRecord:
        """See the port."""
        self._reach("record")
        record = self._room(room_id).record()
        await self._answer("record")
        return record

    async def records(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, RoomRecord]:
        """See the port."""
        self._reach("records")
        records = {room_id: self.rooms[room_id].record() for room_id in room_ids if room_id in self.rooms}
        await self._answer("records")
        return records

    async def newest(self, room_id: RoomId, limit: int) -> LogPage:
        """See the port."""
        self._reach("newest")
        room = self._room(room_id)
        page = LogPage(room.epoch, len(room.log), tuple(room.log[-min(limit, self.page_max_entries) :]))
        await self._answer("newest")
        return page

    async def after(self, room_id: RoomId, seq: int, limit: int) -> LogPage:
        """See the port."""
        self._reach("after")
        room = self._room(room_id)
        page = LogPage(room.epoch, len(room.log), tuple(room.log[seq : seq + min(limit, self.page_max_entries)]))
        await self._answer("after")
        return page

    async def before(self, room_id: RoomId, seq: int, limit: int) -> LogPage:
        """See the port."""
        self._reach("before")
        room = self._room(room_id)
        page = LogPage(room.epoch, len(room.log), tuple(room.log[: seq - 1][-min(limit, self.page_max_entries) :]))
        await self._answer("before")
        return page

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        """See the port."""
        self._reach("heads")
        rooms = (self.rooms[room_id] for room_id in room_ids if room_id in self.rooms)
        heads = {room.room_id: Position(room.epoch, len(room.log)) for room in rooms}
        await self._answer("heads")
        return heads

    async def relay(self, message: SendText | SendGif, sender: Identity, address: str) -> EncodedMessage:
        """See the port. The fake has no GIFs."""
        self.calls["relay"] += 1
        await self._answer("relay")
        if self.down:
            raise Refused(errors.UNAVAILABLE)
        room = self._room(message.room_id)
        if room_banned := room.banned_until.get(sender.user_id):
            raise Refused(errors.BANNED, detail=str(room_banned))
        if (left := self.messages_left.get((message.room_id, address))) is not None:
            if left == 0:
                raise Refused(errors.RATE_LIMITED, 1.0, whole_address=True)
            self.messages_left[message.room_id, address] = left - 1
        if isinstance(message, SendGif):
            raise Refused(errors.GIF_NOT_FOUND)
        key = (sender.user_id, message.client_message_id)
        if key not in room.messages:
            room.say(message.text, sender, message.client_message_id)
        return EncodedMessage(json.dumps(room.messages[key], ensure_ascii=False))

    def _reach(self, what: str) -> None:
        self.calls[what] += 1
        self.called_at_s.append(asyncio.get_running_loop().time())
        if self.down:
            raise HistoryUnavailableError("switched off by the test")

    def _room(self, room_id: RoomId) -> StoredRoom:
        if room_id not in self.rooms:
            raise Refused(errors.ROOM_NOT_FOUND)
        return self.rooms[room_id]

    async def _answer(self, what: str) -> None:
        await asyncio.sleep(0)
        if what in self._held:
            await self._released.wait()
