"""Learn from Redis that a room was created, changed or removed."""

import asyncio
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_contracts.codec import BadFrameError, Kind, decode
from gifchat_contracts.keys import LOBBY_CHANNEL

RETRY_S = 1.0
PING_INTERVAL_S = 10.0
_CHANGES = {Kind.NEW_ROOM, Kind.ROOM_CHANGED, Kind.ROOM_REMOVED}
"""The lobby's other events only count members."""
_log = structlog.get_logger(__name__)


class RedisLobby:
    """Listens to the lobby's channel, and makes at most one call per event. Best effort.

    While Redis is down, events are lost. Callers may use them only to be more up to date.
    """

    def __init__(self, redis: Redis, on_change: Callable[[], None]) -> None:
        """`on_change` is called for every change of a room."""
        self._redis = redis
        self._on_change = on_change

    async def run(self) -> None:
        """Listen, and connect again whenever the connection is lost. Never returns."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                _log.warning("lobby_lost", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.ssubscribe(LOBBY_CHANNEL)
            while True:
                message = await channel.get_message(timeout=PING_INTERVAL_S)
                if message is None:
                    await channel.ping()
                elif message["type"] == "smessage" and _is_change(message["data"]):
                    self._on_change()


def _is_change(data: bytes) -> bool:
    try:
        return decode(data).kind in _CHANGES
    except BadFrameError:
        # A newer version may have sent it, and it may announce a change.
        return True
