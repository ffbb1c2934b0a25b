"""One connection to Redis on which nothing but channels is heard.

What redis-py reads passes through a stream, a task and a timeout for each message, three times what all else costs that
a gateway does with it. Here hiredis parses what the event loop has read, and replies are handed on in the same turn.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

CLIENT_NAME = "gifchat-feed"


class PubSubConnection(asyncio.Protocol):
    """Speaks RESP 2. Made by `connect`."""

    def __init__(self, on_reply: Callable[[Any], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`on_reply` gets each reply that is no error, as hiredis gives it; it must not raise."""
        self._on_reply = on_reply
        self._clock = clock
        self._replies = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self.heard_at_s = clock()
        """When something came last."""
        self.lost: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()
        """Done when the connection is of no use any more, and why."""

    def send(self, *command: str) -> None:
        """Send a command; on a lost connection nothing happens."""
        if self._transport is not None and not self.lost.done():
            self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub allows one word

    def fail(self, why: str) -> None:
        """Give the connection up: nothing that still comes is handed on."""
        if not self.lost.done():
            self.lost.set_result(OSError(why))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's transports are not registered as what they are.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.heard_at_s = self._clock()
        replies = self._replies
        try:
            replies.feed(data)
            # False: the rest of a reply is still to come. RESP 2 has no booleans.
            while (reply := replies.gets()) is not False and not self.lost.done():
                if isinstance(reply, hiredis.ReplyError):
                    self.fail(str(reply))
                else:
                    self._on_reply(reply)
        except hiredis.ProtocolError as error:
            self.fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.fail(str(exc) if exc else "closed by the server")


async def connect(
    like: AbstractConnection, on_reply: Callable[[Any], None], clock: Callable[[], float] = time.monotonic
) -> PubSubConnection:
    """A connection to where `like`, which is not used itself, would go, with its credentials.

    Raises:
        OSError: there is no way to it.
    """
    loop = asyncio.get_running_loop()

    def protocol() -> PubSubConnection:
        return PubSubConnection(on_reply, clock)

    if isinstance(like, UnixDomainSocketConnection):
        _, connection = await loop.create_unix_connection(protocol, like.path)
    elif isinstance(like, Connection):
        context = like.ssl_context.get() if isinstance(like, SSLConnection) else None
        _, connection = await loop.create_connection(protocol, like.host, like.port, ssl=context)
    else:
        raise TypeError(f"{type(like).__name__} is of no kind that a URL names")
    if like.password:
        connection.send("AUTH", *([like.username] if like.username else []), like.password)
    connection.send("CLIENT", "SETNAME", CLIENT_NAME)
    return connection
