"""Tell who came and who left: to a small room one by one, to a big one thinned; to the lobby in sums."""

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

    Presence is ephemeral: a `join` or `exit` that Redis did not take is lost; sums are kept and sent a period later.
    """

    def __init__(self, publisher: Publisher, period_s: float = PERIOD_S) -> None:
        self._publisher = publisher
        self._period_s = period_s
        self._presence = PresenceMerge()
        self._occupancy = OccupancyMerge()

    async def arrived(self, room_id: RoomId, who: Identity, occupancy: int) -> None:
        """`who` became a member; `occupancy` counts them."""
        self._occupancy.add({room_id: occupancy})
        if self._one_by_one(room_id, occupancy):
            payload = join_payload(room_id, who.user_id, who.color)
            frame = Frame(Kind.JOIN, body(socket_events.JOIN, payload), subject=who.user_id)
            await self._publish(keys.room_channel(room_id), frame)
        else:
            self._presence.arrived(room_id, who, occupancy)

    async def left(self, room_id: RoomId, who: Identity, occupancy: int) -> None:
        """`who` is no member any more; `occupancy` does not count them."""
        self._occupancy.add({room_id: occupancy})
        if self._one_by_one(room_id, occupancy):
            payload = exit_payload(room_id, who.user_id, who.color)
            frame = Frame(Kind.EXIT, body(socket_events.EXIT, payload), subject=who.user_id)
            await self._publish(keys.room_channel(room_id), frame)
        else:
            self._presence.left(room_id, who, occupancy)

    def forget(self, room_id: RoomId) -> None:
        """The room is gone: nothing is told of it any more."""
        self._presence.forget(room_id)
        self._occupancy.forget(room_id)

    async def flush(self) -> None:
        """Publish what has gathered: one event for each room above the first tier, one for the lobby."""
        untold = [payload for payload in self._presence.take() if not await self._tell(payload)]
        self._presence.put_back(untold)
        members = self._occupancy.take()
        if members:
            frame = Frame(Kind.OCCUPANCY, body(socket_events.OCCUPANCY, members))
            if not await self._publish(keys.LOBBY_CHANNEL, frame):
                self._occupancy.put_back(members)

    async def run(self) -> None:
        """Flush once a period, until cancelled."""
        while True:
            await asyncio.sleep(self._period_s)
            await self.flush()

    def _one_by_one(self, room_id: RoomId, occupancy: int) -> bool:
        """Not while a sum of the room is still to be told: it is older, and would come after."""
        return tier_of(occupancy) is Tier.ONE_BY_ONE and room_id not in self._presence

    async def _tell(self, payload: PresencePayload) -> bool:
        frame = Frame(Kind.PRESENCE, body(socket_events.PRESENCE, payload))
        return await self._publish(keys.room_channel(payload["room"]), frame)

    async def _publish(self, channel: str, frame: Frame) -> bool:
        try:
            await self._publisher.publish(channel, frame)
        except PublishFailedError as error:
            _log.warning("presence_not_published", kind=frame.kind.name, channel=channel, error=str(error))
            return False
        return True
