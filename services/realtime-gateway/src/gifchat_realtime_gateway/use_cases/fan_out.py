"""Deliver what a room's channel carries to the room's sessions on this node."""

import asyncio
import json
from collections.abc import Callable, Mapping
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
    """What came of a durable frame."""

    DONE = auto()
    """Delivered, or known already."""
    GAP = auto()
    """It waits for what is missing before it."""
    RESYNC = auto()
    """The room is to be started anew."""
    NOT_SERVED = auto()
    """This node cannot rely on its seats: it passes nothing on, and has to catch up afterwards."""


class FanOut:
    """Writes frames to sessions. Durable ones in order and once; presence of a big room once a period."""

    def __init__(
        self,
        sockets: Sockets,
        rooms: Mapping[RoomId, HostedRoom],
        serves: Callable[[RoomId], bool],
        period_s: float = PERIOD_S,
    ) -> None:
        """`serves` says whether this node can rely on its seats in a room."""
        self._sockets = sockets
        self._rooms = rooms
        self._serves = serves
        self._period_s = period_s
        self._presence = PresenceMerge()

    def serves(self, room_id: RoomId) -> bool:
        """Whether this node can rely on its seats in the room: otherwise nothing is passed on."""
        return self._serves(room_id)

    def durable(self, room: HostedRoom, frame: Frame) -> Delivery:
        """A durable frame, from the channel or read from the log."""
        if not self._serves(room.room_id):
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
        """A frame without a seq.

        Raises:
            ValueError: it is about presence, and cannot be read; or it is of a kind that no room's channel carries.
        """
        if not self._serves(room.room_id):
            return
        match frame.kind:
            case Kind.JOIN | Kind.TYPING:
                room.audience.send(frame.body, exclude=frame.subject)
            case Kind.SANCTION:
                self._sockets.deliver(room.audience.sids_of(frame.subject), frame.body)
            case Kind.PRESENCE:
                presence = read_presence(room.room_id, frame.body)
                room.occupancy = presence["members"]
                self._presence.add(presence)
            case Kind.ROOM_REMOVED:
                # Told by who closes the room.
                pass
            case Kind.EXIT | Kind.ROOM_CHANGED:
                room.audience.send(frame.body)
            case kind:
                raise ValueError(f"{kind.name} on a room's channel")
        _EVENTS[frame.kind].count += 1

    def resync(self, room: HostedRoom) -> None:
        """Tell everybody in the room to drop what they show of it."""
        payload = {"room": room.room_id, "position": room.stream.position.as_json()}
        room.audience.send(body(socket_events.RESYNC, payload))

    def flush_presence(self) -> None:
        """Tell what all nodes said of big rooms since the last time, in one event for each room."""
        for payload in self._presence.take():
            room = self._rooms.get(payload["room"])
            if room is not None:
                room.audience.send(body(socket_events.PRESENCE, payload))

    async def run(self) -> None:
        """Flush once a period, until cancelled."""
        while True:
            await asyncio.sleep(self._period_s)
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
            # What came with it and after it is not held up by it.
            metrics.BAD_FRAMES.inc()
            _log.warning("not_redacted", room=room.room_id, seq=frame.seq, error=repr(error))
