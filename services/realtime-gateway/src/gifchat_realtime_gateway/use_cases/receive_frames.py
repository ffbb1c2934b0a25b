"""What a frame on a hosted room's channel leads to."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import structlog

from gifchat_contracts.codec import Frame, Kind
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.use_cases.evict_sessions import EvictSessions
from gifchat_realtime_gateway.use_cases.fan_out import Delivery, FanOut
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms

_log = structlog.get_logger(__name__)


class ReceiveFrames:
    """Delivers, and acts on what concerns the node itself. Never waits: what takes time becomes a task."""

    def __init__(self, fan_out: FanOut, repair: RepairRooms, evict: EvictSessions) -> None:
        self._fan_out = fan_out
        self._repair = repair
        self._evict = evict
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, room: HostedRoom, frame: Frame) -> None:
        """One frame of the room's channel, in the order in which they came."""
        if frame.kind.durable:
            match self._fan_out.durable(room, frame):
                case Delivery.DONE:
                    pass
                case Delivery.GAP:
                    self._repair.gap(room)
                case Delivery.RESYNC | Delivery.NOT_SERVED:
                    self._repair.behind([room.room_id])
            return
        if frame.kind is Kind.HEAD:
            self._repair.announced(room, frame)
            return
        self._fan_out.ephemeral(room, frame)
        if frame.kind in (Kind.ROOM_CHANGED, Kind.ROOM_REMOVED, Kind.SANCTION):
            room.record_read_at_s = None
        if frame.kind is Kind.ROOM_REMOVED:
            self._start(self._evict.close(room))
        if frame.kind is Kind.SANCTION:
            self._sanction(room, frame)

    def _sanction(self, room: HostedRoom, frame: Frame) -> None:
        _, payload = json.loads(frame.body)
        if frame.subject is not None and payload["code"] in ("kicked", "banned"):
            self._start(self._evict.unseat(room, frame.subject))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
