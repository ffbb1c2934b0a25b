"""Our own link to Redis, for the paths on which redis-py is too slow."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection


class RedisLink(asyncio.Protocol):
    """A RESP 2 link over TCP or a Unix socket. It passes on each reply in the event loop turn that read it.

    In redis-py each reply passes through a stream, a task and a timeout. That costs three times as much as everything
    else that a gateway does with the reply.
    """

    def __init__(self, on_reply: Callable[[Any], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`on_reply` gets each reply as hiredis parses it, errors included; it must not raise."""
        self.on_reply = on_reply
        self._clock = clock
        self._replies = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self.heard_at_s = clock()
        """When the last bytes arrived."""
        self.lost: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()
        """Resolves to the reason when the link is lost."""

    def send(self, *command: str | bytes | int) -> None:
        """Send a command; a no-op on a lost link."""
        if self._transport is not None and not self.lost.done():
            self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub allows one word

    def fail(self, why: str) -> None:
        """Close the link. Later replies are dropped."""
        if not self.lost.done():
            self.lost.set_result(OSError(why))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's transports are not registered as `asyncio.Transport`.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.heard_at_s = self._clock()
        replies = self._replies
        try:
            replies.feed(data)
            # hiredis returns False for an incomplete reply. RESP 2 has no booleans.
            while (reply := replies.gets()) is not False and not self.lost.done():
                self.on_reply(reply)
        except hiredis.ProtocolError as error:
            self.fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.fail(str(exc) if exc else "closed by the server")


async def connect(
    like: AbstractConnection, on_reply: Callable[[Any], None], clock: Callable[[], float] = time.monotonic
) -> RedisLink:
    """Open a link to the server of `like`, with its credentials and database. `like` itself is not used.

    Raises:
        OSError: the server cannot be reached, or refuses the credentials.
    """
    loop = asyncio.get_running_loop()

    def protocol() -> RedisLink:
        return RedisLink(on_reply, clock)

    if isinstance(like, UnixDomainSocketConnection):
        _, link = await loop.create_unix_connection(protocol, like.path)
    elif isinstance(like, Connection):
        context = like.ssl_context.get() if isinstance(like, SSLConnection) else None
        _, link = await loop.create_connection(protocol, like.host, like.port, ssl=context)
    else:
        raise TypeError(f"{type(like).__name__} is not a connection class that a URL can name")
    try:
        for command in _introduction(like):
            await _introduce(link, command)
    except BaseException:
        link.fail("not connected")
        raise
    link.on_reply = on_reply
    return link


async def _introduce(link: RedisLink, command: Sequence[str]) -> None:
    welcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    link.on_reply = welcome.set_result
    link.send(*command)
    await asyncio.wait({welcome, link.lost}, return_when=asyncio.FIRST_COMPLETED)
    if link.lost.done():
        raise link.lost.result()
    if isinstance(refusal := welcome.result(), hiredis.ReplyError):
        raise ConnectionRefusedError(str(refusal))


def _introduction(like: AbstractConnection) -> Iterable[tuple[str, ...]]:
    if like.password:
        yield ("AUTH", like.username, like.password) if like.username else ("AUTH", like.password)
    if like.db:
        yield ("SELECT", str(like.db))
    # Wait for an answer before sending commands: a server whose replies are lost would still run them.
    yield ("PING",)
