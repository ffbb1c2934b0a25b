"""Connections to Redis: one of our own for what redis-py is too slow for, and a mend for redis-py's."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import Connection as TcpConnection
from redis.exceptions import ConnectionError as RedisConnectionError


class Connection(asyncio.Protocol):
    """One connection, in RESP 2, of which every reply is handed on in the turn of the event loop that read it.

    What redis-py reads passes through a stream, a task and a timeout for each reply, three times what all else costs
    that a gateway does with it.
    """

    def __init__(self, on_reply: Callable[[Any], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`on_reply` gets each reply as hiredis gives it, errors too; it must not raise."""
        self.on_reply = on_reply
        self._clock = clock
        self._replies = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self.heard_at_s = clock()
        """When something came last."""
        self.lost: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()
        """Done when the connection is of no use any more, and why."""

    def send(self, *command: str | bytes | int) -> None:
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
                self.on_reply(reply)
        except hiredis.ProtocolError as error:
            self.fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.fail(str(exc) if exc else "closed by the server")


async def connect(
    like: AbstractConnection, on_reply: Callable[[Any], None], clock: Callable[[], float] = time.monotonic
) -> Connection:
    """A connection to where `like`, which is not used itself, would go, with its credentials and its database.

    Raises:
        OSError: there is no way to it, or it lets nobody in with these.
    """
    loop = asyncio.get_running_loop()

    def protocol() -> Connection:
        return Connection(on_reply, clock)

    if isinstance(like, UnixDomainSocketConnection):
        _, connection = await loop.create_unix_connection(protocol, like.path)
    elif isinstance(like, TcpConnection):
        context = like.ssl_context.get() if isinstance(like, SSLConnection) else None
        _, connection = await loop.create_connection(protocol, like.host, like.port, ssl=context)
    else:
        raise TypeError(f"{type(like).__name__} is of no kind that a URL names")
    try:
        for command in _introduction(like):
            await _introduce(connection, command)
    except BaseException:
        connection.fail("not connected")
        raise
    connection.on_reply = on_reply
    return connection


async def _introduce(connection: Connection, command: Sequence[str]) -> None:
    welcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connection.on_reply = welcome.set_result
    connection.send(*command)
    await asyncio.wait({welcome, connection.lost}, return_when=asyncio.FIRST_COMPLETED)
    if connection.lost.done():
        raise connection.lost.result()
    if isinstance(refusal := welcome.result(), hiredis.ReplyError):
        raise ConnectionRefusedError(str(refusal))


def _introduction(like: AbstractConnection) -> Iterable[tuple[str, ...]]:
    if like.password:
        yield ("AUTH", like.username, like.password) if like.username else ("AUTH", like.password)
    if like.db:
        yield ("SELECT", str(like.db))
    # Where nothing comes back nothing is to be asked for: the server would act on it, one script and not another.
    yield ("PING",)


def telling_loss(base: type[AbstractConnection]) -> type[AbstractConnection]:
    """`base`, with redis-py's `ConnectionError` where uvloop has another word for it.

    On a transport that was closed since, uvloop raises `RuntimeError`: neither redis-py's retries nor anybody who
    waits for Redis would take that for a lost connection.
    """

    class TellingConnection(base):  # type: ignore[misc, valid-type]
        async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> Any:
            try:
                return await super().send_packed_command(command, check_health)
            except RuntimeError as error:
                raise RedisConnectionError(str(error)) from error

    return TellingConnection
