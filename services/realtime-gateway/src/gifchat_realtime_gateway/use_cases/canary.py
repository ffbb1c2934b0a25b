"""Check that this node receives published frames, by publishing to itself.

A connection can be alive but deaf: if the server loses a subscription, the channel just looks quiet.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from gifchat_contracts.codec import Frame, Kind
from gifchat_realtime_gateway.ports import Publisher, PublishFailedError

PERIOD_S = 1.0
DEAF_AFTER_S = 3.5
"""The canary checks once per period, so a deaf node is detected within 5 s, even if it is busy."""

_log = structlog.get_logger(__name__)


class Canary:
    """Publishes a frame to this node every second, and notices when the frames stop coming back."""

    def __init__(self, publisher: Publisher, channel: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic."""
        self._publisher = publisher
        self.channel = channel
        self._clock = clock
        self._heard_at_s = clock()
        self.deaf = False
        """Whether the canary's frames stopped coming back."""

    def heard(self) -> None:
        """Record that a frame came back."""
        self._heard_at_s = self._clock()
        self.deaf = False

    async def sing(self, on_deaf: Callable[[], None]) -> None:
        """Publish once. A frame that Redis rejects does not count, because it cannot come back."""
        try:
            await self._publisher.publish(self.channel, Frame(Kind.CANARY, b""))
        except PublishFailedError:
            self._heard_at_s = self._clock()
            return
        if self._clock() - self._heard_at_s > DEAF_AFTER_S:
            _log.warning("deaf", silent_s=round(self._clock() - self._heard_at_s, 1))
            self.deaf = True
            self._heard_at_s = self._clock()
            on_deaf()

    async def run(self, on_deaf: Callable[[], None]) -> None:
        """Publish once per period, until cancelled. Calls `on_deaf` while the node is deaf, once per `DEAF_AFTER_S`."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.sing(on_deaf)
