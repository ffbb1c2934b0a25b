"""Pipelining: send commands over one connection without waiting for earlier replies.

redis-py uses one connection per command, or one pipeline for commands that are known in advance. A burst of joins fits
neither: it is hundreds of scripts from unrelated callers.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from hiredis import ReplyError
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from gifchat_chassis.redis_link import RedisLink, connect

MAX_IN_FLIGHT = 256
"""Further commands wait. A script takes about 50 µs, and a long queue would look like a silent server."""
TIMEOUT_S = 1.0

Word = str | bytes | int
_Command = tuple[Word, ...]


class _NotSentError(RedisConnectionError):
    """The connection was lost before the command was written to it."""


class Pipelining:
    """Sends commands over a connection that is opened on the first call, and reopened after a loss."""

    def __init__(self, redis: Redis) -> None:
        """`redis` provides the address and the credentials. Its own connections are not used."""
        self._make_connection: Callable[[], AbstractConnection] = redis.connection_pool.make_connection
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line] | None = None

    async def call(self, *command: Word, once: bool = False) -> Any:
        """Send a command and return the reply, as hiredis parses it.

        The command may still run after the caller was cancelled. If the connection breaks before the reply, the command
        is sent again. With `once`, it is sent again only if it cannot have run.

        Raises:
            RedisError: the server refuses the command, is down, or does not answer within `TIMEOUT_S`.
            NoScriptError: the server does not know the script.
        """
        try:
            answer = await self._asked(command)
        except RedisConnectionError as error:
            if once and not isinstance(error, _NotSentError):
                raise
            answer = await self._asked(command)
        if isinstance(answer, ReplyError):
            text = str(answer)
            raise NoScriptError(text) if text.startswith("NOSCRIPT") else ResponseError(text)
        return answer

    def close(self) -> None:
        """Close the connection. Waiting callers handle this like any other loss of the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.fail("closed")

    async def _asked(self, command: _Command) -> Any:
        line = self._line
        if line is None or line.lost:
            line = await self._connected()
        return await line.ask(command)

    async def _connected(self) -> "_Line":
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="connect to Redis")
            self._connecting.add_done_callback(self._no_more_connecting)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> "_Line":
        line = _Line()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                line.begin(await connect(self._make_connection(), line.answered))
        except OSError as error:
            raise RedisConnectionError(str(error) or type(error).__name__) from error
        self._line = line
        return line

    def _no_more_connecting(self, task: "asyncio.Task[_Line]") -> None:
        self._connecting = None
        if not task.cancelled():
            # Retrieve the exception: the callers may have been cancelled.
            task.exception()


class _Line:
    """One connection and its commands in flight. A new connection gets a new line, so no command gets a late reply."""

    def __init__(self) -> None:
        self._connection: RedisLink | None = None
        self._in_flight: deque[tuple[asyncio.Future[Any], float]] = deque()
        """Commands in flight, in the order of their replies, with the time when they were sent."""
        self._waiting: deque[tuple[_Command, asyncio.Future[Any]]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    @property
    def lost(self) -> bool:
        return self._connection is None or self._connection.lost.done()

    def begin(self, connection: RedisLink) -> None:
        """Use `connection`, which passes its replies to `answered`."""
        self._connection = connection
        connection.lost.add_done_callback(lambda why: self._give_up(str(why.result())))

    def fail(self, why: str) -> None:
        if self._connection is not None:
            self._connection.fail(why)

    async def ask(self, command: _Command) -> Any:
        """Send a command and return the reply, which can be a `ReplyError`.

        Raises:
            RedisConnectionError: the connection was lost before the reply.
        """
        connection = self._connection
        if connection is None or connection.lost.done():
            raise _NotSentError("lost")
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if len(self._in_flight) < MAX_IN_FLIGHT:
            self._send(connection, command, reply)
        else:
            self._waiting.append((command, reply))
        return await reply

    def answered(self, answer: Any) -> None:
        """Take the reply to the oldest command in flight."""
        if not self._in_flight:
            self.fail("a reply without a command")
            return
        reply, _ = self._in_flight.popleft()
        if not reply.done():
            reply.set_result(answer)
        while self._waiting and self._connection is not None and len(self._in_flight) < MAX_IN_FLIGHT:
            command, waiting = self._waiting.popleft()
            if not waiting.done():
                self._send(self._connection, command, waiting)

    def _send(self, connection: RedisLink, command: _Command, reply: "asyncio.Future[Any]") -> None:
        loop = asyncio.get_running_loop()
        self._in_flight.append((reply, loop.time()))
        connection.send(*command)
        if self._watch is None:
            self._watch = loop.call_later(TIMEOUT_S, self._look)

    def _look(self) -> None:
        """Close the connection if the oldest command has waited too long."""
        self._watch = None
        if self._in_flight:
            loop = asyncio.get_running_loop()
            due_s = self._in_flight[0][1] + TIMEOUT_S
            if due_s <= loop.time():
                self.fail(f"no answer within {TIMEOUT_S} s")
            else:
                self._watch = loop.call_at(due_s, self._look)

    def _give_up(self, why: str) -> None:
        unanswered: list[tuple[asyncio.Future[Any], RedisConnectionError]] = [
            *((reply, RedisConnectionError(why)) for reply, _ in self._in_flight),
            *((reply, _NotSentError(why)) for _, reply in self._waiting),
        ]
        self._in_flight.clear()
        self._waiting.clear()
        for reply, error in unanswered:
            if not reply.done():
                reply.set_exception(error)
