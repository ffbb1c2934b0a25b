"""Deliver the events of a room to its sessions on this node."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

import structlog

from gifchat_contracts import socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import body
from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.coalesce import PresenceMerge, read_presence
from gifchat_realtime_gateway.domain.hosted_room import Deliver, HostedRoom, Outcome
from gifchat_realtime_gateway.ports import Sockets

PERIOD_S = 1.0

_EVENTS = {kind: metrics.EVENTS.of(kind.name.lower()) for kind in Kind}

_log = structlog.get_logger(__name__)


class Delivery(Enum):
    """The result of delivering a durable frame."""

    DONE = auto()
    """Delivered now or before."""
    GAP = auto()
    """The room holds frames, because an earlier one is missing."""
    RESYNC = auto()
    """The room's stream must be restarted."""
    NOT_SERVED = auto()
    """Not delivered, because this node cannot rely on its seats. It has to catch up later."""


@dataclass(frozen=True, eq=False)
class FanOut:
    """Writes frames to sessions: durable ones once and in order, presence of big rooms once per period."""

    sockets: Sockets
    rooms: Mapping[RoomId, HostedRoom]
    serves: Callable[[RoomId], bool]
    """Whether this node can rely on its seats in a room. If not, it delivers no frames there."""
    _presence: PresenceMerge = field(default_factory=PresenceMerge, init=False)

    def durable(self, room: HostedRoom, frame: Frame) -> Delivery:
        """Deliver a durable frame from the channel or the log."""
        if not self.serves(room.room_id):
            return Delivery.NOT_SERVED
        outcome = room.stream.receive(frame)
        if isinstance(outcome, Deliver):
            for each in outcome.frames:
                self._deliver(room, each)
            return Delivery.GAP if room.stream.has_gap else Delivery.DONE
        match outcome:
            case Outcome.DUPLICATE:
                metrics.DUPLICATES.inc()
                return Delivery.DONE
            case Outcome.GAP:
                return Delivery.GAP
            case Outcome.RESYNC:
                return Delivery.RESYNC

    def ephemeral(self, room: HostedRoom, frame: Frame) -> None:
        """Deliver a frame without a seq.

        Raises:
            ValueError: the frame is undecodable, or its kind does not belong on a room's channel.
        """
        if not self.serves(room.room_id):
            return
        match frame.kind:
            case Kind.JOIN | Kind.TYPING:
                room.audience.send(frame.body, exclude=frame.subject)
            case Kind.SANCTION:
                self.sockets.deliver(room.audience.sids_of(frame.subject), frame.body)
            case Kind.PRESENCE:
                presence = read_presence(room.room_id, frame.body)
                room.occupancy = presence["members"]
                self._presence.add(presence)
            case Kind.ROOM_REMOVED:
                # `EvictSessions.close` tells the sessions.
                pass
            case Kind.EXIT | Kind.ROOM_CHANGED:
                room.audience.send(frame.body)
            case kind:
                raise ValueError(f"{kind.name} on a room's channel")
        _EVENTS[frame.kind].count += 1

    def resync(self, room: HostedRoom) -> None:
        """Tell all sessions in the room to drop their state and reload."""
        payload = {"room": room.room_id, "position": room.stream.position.as_json()}
        room.audience.send(body(socket_events.RESYNC, payload))

    def flush_presence(self) -> None:
        """Send the presence changes that all nodes reported since the last flush, one event for each room."""
        for payload in self._presence.take():
            room = self.rooms.get(payload["room"])
            if room is not None:
                room.audience.send(body(socket_events.PRESENCE, payload))

    async def run(self) -> None:
        """Flush once per period, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            self.flush_presence()

    def _deliver(self, room: HostedRoom, frame: Frame) -> None:
        room.ring.append(frame)
        if frame.kind is Kind.CHAT_DELETED:
            self._redact(room, frame)
        room.audience.send(frame.body)
        _EVENTS[frame.kind].count += 1

    @staticmethod
    def _redact(room: HostedRoom, frame: Frame) -> None:
        try:
            _, payload = json.loads(frame.body)
            room.ring.redact(payload["target_seq"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # The frame counts as delivered, so that it does not hold up later ones.
            metrics.BAD_FRAMES.inc()
            _log.warning("not_redacted", room=room.room_id, seq=frame.seq, error=repr(error))
