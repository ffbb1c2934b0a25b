"""Announce arrivals and departures: one by one in small rooms, merged in big ones, as totals in the lobby."""

import asyncio

import structlog

from gifchat_contracts import keys, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import PresencePayload, body, exit_payload, join_payload
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway.domain.coalesce import OccupancyMerge, PresenceMerge, Tier, tier_of
from gifchat_realtime_gateway.ports import Publisher, PublishFailedError

PERIOD_S = 1.0

_log = structlog.get_logger(__name__)


class AnnouncePresence:
    """Publishes presence and occupancy.

    Presence is ephemeral: a `join` or `exit` that Redis rejects is lost. A rejected merged event is retried later.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._presence = PresenceMerge()
        self._occupancy = OccupancyMerge()

    async def arrived(self, room_id: RoomId, who: Identity, occupancy: int) -> None:
        """Announce that `who` became a member. `occupancy` includes them."""
        self._occupancy.add({room_id: occupancy})
        if self._one_by_one(room_id, occupancy):
            payload = join_payload(room_id, who.user_id, who.color)
            frame = Frame(Kind.JOIN, body(socket_events.JOIN, payload), subject=who.user_id)
            await self._publish(keys.room_channel(room_id), frame)
        else:
            self._presence.arrived(room_id, who, occupancy)

    async def left(self, room_id: RoomId, who: Identity, occupancy: int) -> None:
        """Announce that `who` is no longer a member. `occupancy` does not include them."""
        self._occupancy.add({room_id: occupancy})
        if self._one_by_one(room_id, occupancy):
            payload = exit_payload(room_id, who.user_id, who.color)
            frame = Frame(Kind.EXIT, body(socket_events.EXIT, payload), subject=who.user_id)
            await self._publish(keys.room_channel(room_id), frame)
        else:
            self._presence.left(room_id, who, occupancy)

    def forget(self, room_id: RoomId) -> None:
        """Drop the room's unannounced changes, because it was removed."""
        self._presence.forget(room_id)
        self._occupancy.forget(room_id)

    async def flush(self) -> None:
        """Publish the merged changes: one event for each big room, and one for the lobby."""
        unsent = [payload for payload in self._presence.take() if not await self._publish_presence(payload)]
        self._presence.put_back(unsent)
        members = self._occupancy.take()
        if members:
            frame = Frame(Kind.OCCUPANCY, body(socket_events.OCCUPANCY, members))
            if not await self._publish(keys.LOBBY_CHANNEL, frame):
                self._occupancy.put_back(members)

    async def run(self) -> None:
        """Flush once per period, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.flush()

    def _one_by_one(self, room_id: RoomId, occupancy: int) -> bool:
        """Whether to announce a change at once. False while an older, merged change of the room waits to be sent."""
        return tier_of(occupancy) is Tier.ONE_BY_ONE and room_id not in self._presence

    async def _publish_presence(self, payload: PresencePayload) -> bool:
        frame = Frame(Kind.PRESENCE, body(socket_events.PRESENCE, payload))
        return await self._publish(keys.room_channel(payload["room"]), frame)

    async def _publish(self, channel: str, frame: Frame) -> bool:
        try:
            await self._publisher.publish(channel, frame)
        except PublishFailedError as error:
            _log.warning("presence_not_published", kind=frame.kind.name, channel=channel, error=str(error))
            return False
        return True
