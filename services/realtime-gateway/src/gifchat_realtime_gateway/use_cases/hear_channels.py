"""What comes on the channels: decoded, and handed to the room or the lobby."""

from collections.abc import Collection

import structlog

from gifchat_contracts import keys
from gifchat_contracts.codec import decode
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.use_cases.canary import Canary
from gifchat_realtime_gateway.use_cases.host_rooms import HostRooms
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms
from gifchat_realtime_gateway.use_cases.tell_lobby import TellLobby

_log = structlog.get_logger(__name__)


class HearChannels:
    """The listener; whatever is published, it stays alive."""

    def __init__(
        self, hosts: HostRooms, lobby: TellLobby, repair: RepairRooms, canary: Canary, canary_channel: str
    ) -> None:
        self._hosts = hosts
        self._lobby = lobby
        self._repair = repair
        self._canary = canary
        self._canary_channel = canary_channel

    def on_data(self, channel: str, data: bytes) -> None:
        """Something was published."""
        try:
            frame = decode(data)
            room_id = keys.room_of_channel(channel)
            if room_id is not None:
                self._hosts.receive(room_id, frame)
            elif channel == keys.LOBBY_CHANNEL:
                self._lobby.receive(frame)
            elif channel == self._canary_channel:
                self._canary.heard()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # Redis is not the only one who can write to Redis: what cannot be read is dropped, and a gap is repaired.
            metrics.BAD_FRAMES.inc()
            _log.warning("bad_frame", channel=channel, error=repr(error))

    def on_reconnected(self, channels: Collection[str]) -> None:
        """The feed was away: any room may have missed its last message."""
        rooms = (keys.room_of_channel(channel) for channel in channels)
        self._repair.behind(room_id for room_id in rooms if room_id is not None)
