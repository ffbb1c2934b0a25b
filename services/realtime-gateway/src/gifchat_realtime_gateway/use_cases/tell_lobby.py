"""Tell the lobby about new, changed and removed rooms, and about their occupancy."""

import asyncio
import json
from collections.abc import Mapping

from gifchat_contracts import socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import body
from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway.domain.coalesce import OccupancyMerge, read_occupancies
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.unknown_rooms import UnknownRooms
from gifchat_realtime_gateway.ports import Sockets

PERIOD_S = 1.0


class TellLobby:
    """Forwards the events of the lobby's channel.

    Once per period, it sends all nodes' occupancies as one event, and the latest change of each changed room.
    """

    def __init__(self, sockets: Sockets, rooms: Mapping[RoomId, HostedRoom], unknown: UnknownRooms) -> None:
        self._sockets = sockets
        self._rooms = rooms
        self._unknown = unknown
        self._occupancy = OccupancyMerge()
        self._changed: dict[RoomId, bytes] = {}
        """The latest `roomChanged` of each room that changed since the last flush."""

    def receive(self, frame: Frame) -> None:
        """Forward one frame of the lobby's channel.

        Raises:
            ValueError: the frame is undecodable, or its kind does not belong on this channel.
        """
        match frame.kind:
            case Kind.OCCUPANCY:
                members = read_occupancies(frame.body)
                self._occupancy.add(members)
                for room_id in members.keys() & self._rooms.keys():
                    self._rooms[room_id].occupancy = members[room_id]
            case Kind.ROOM_REMOVED:
                _, room_id = json.loads(frame.body)
                self._occupancy.forget(room_id)
                self._changed.pop(room_id, None)
                self._sockets.deliver_to_lobby(frame.body)
            case Kind.NEW_ROOM:
                _, room = json.loads(frame.body)
                self._unknown.created(room["_id"])
                self._sockets.deliver_to_lobby(frame.body)
            case Kind.ROOM_CHANGED:
                _, room = json.loads(frame.body)
                self._changed[room["_id"]] = frame.body
            case kind:
                raise ValueError(f"{kind.name} on the lobby's channel")

    def flush(self) -> None:
        """Send the rooms and occupancies that changed since the last flush."""
        changed, self._changed = self._changed, {}
        for event in changed.values():
            self._sockets.deliver_to_lobby(event)
        members = self._occupancy.take()
        if members:
            self._sockets.deliver_to_lobby(body(socket_events.OCCUPANCY, members))

    async def run(self) -> None:
        """Flush once per period, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            self.flush()
