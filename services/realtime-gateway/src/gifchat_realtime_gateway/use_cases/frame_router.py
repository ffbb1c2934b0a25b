"""Route each frame that arrives: a room's frame to the room's stream, a lobby frame to the lobby."""

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from gifchat_contracts import keys
from gifchat_contracts.codec import Frame, Kind, decode
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.use_cases.canary import Canary
from gifchat_realtime_gateway.use_cases.evict_sessions import EvictSessions
from gifchat_realtime_gateway.use_cases.fan_out import Delivery, FanOut
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms
from gifchat_realtime_gateway.use_cases.tell_lobby import TellLobby

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class FrameRouter:
    """The feed's listener. Never blocks or raises: slow work runs in tasks, and undecodable frames are dropped."""

    rooms: Mapping[RoomId, HostedRoom]
    """The rooms that this node hosts."""
    fan_out: FanOut
    repair: RepairRooms
    evict: EvictSessions
    lobby: TellLobby
    canary: Canary
    on_revoked: Callable[[UserId], None]
    """Called when a session was signed out."""
    _held: dict[RoomId, list[bytes]] = field(default_factory=dict, init=False)
    """Frames of rooms that are being opened."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def on_data(self, channel: str, data: bytes) -> None:
        """See `ports.FeedListener`."""
        try:
            room_id = keys.room_of_channel(channel)
            if room_id is not None:
                room = self.rooms.get(room_id)
                if room is not None:
                    self._to_room(room, decode(data))
                elif room_id in self._held:
                    self._held[room_id].append(data)
            elif channel == keys.LOBBY_CHANNEL:
                self.lobby.receive(decode(data))
            elif channel == self.canary.channel:
                self.canary.heard()
            elif channel == keys.REVOCATIONS_CHANNEL:
                self._revoke(decode(data))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # Other programs can write to Redis too. Repair fills the gap that a dropped frame leaves.
            metrics.BAD_FRAMES.inc()
            _log.warning("bad_frame", channel=channel, error=repr(error))

    def on_reconnected(self, channels: Collection[str]) -> None:
        """See `ports.FeedListener`. Any room may have missed its last message."""
        rooms = (keys.room_of_channel(channel) for channel in channels)
        self.repair.behind(room_id for room_id in rooms if room_id is not None)

    def hold(self, room_id: RoomId) -> None:
        """Keep the frames of a room that is being opened, until `release` or `discard`."""
        self._held[room_id] = []

    def release(self, room: HostedRoom) -> None:
        """Route the frames that were held for a room, now that it is hosted."""
        channel = keys.room_channel(room.room_id)
        for data in self._held.pop(room.room_id):
            self.on_data(channel, data)

    def discard(self, room_id: RoomId) -> None:
        """Drop the frames that were held for a room that could not be opened."""
        del self._held[room_id]

    def _revoke(self, frame: Frame) -> None:
        if frame.kind is not Kind.SESSION_REVOKED or frame.subject is None:
            raise ValueError(f"{frame.kind.name} on the channel of revocations")
        self.on_revoked(frame.subject)

    def _to_room(self, room: HostedRoom, frame: Frame) -> None:
        if frame.kind.durable:
            match self.fan_out.durable(room, frame):
                case Delivery.DONE:
                    pass
                case Delivery.GAP:
                    self.repair.gap(room)
                case Delivery.RESYNC | Delivery.NOT_SERVED:
                    self.repair.behind([room.room_id])
            return
        if frame.kind is Kind.HEAD:
            self.repair.announced(room, frame)
            return
        self.fan_out.ephemeral(room, frame)
        if frame.kind in (Kind.ROOM_CHANGED, Kind.ROOM_REMOVED, Kind.SANCTION):
            room.record_read_at_s = None
        if frame.kind is Kind.ROOM_REMOVED:
            self._start(self.evict.close(room))
        if frame.kind is Kind.SANCTION:
            _, payload = json.loads(frame.body)
            if frame.subject is not None and payload["code"] in ("kicked", "banned"):
                self._start(self.evict.unseat(room, frame.subject))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
