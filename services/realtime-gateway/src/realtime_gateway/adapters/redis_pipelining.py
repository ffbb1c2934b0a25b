"""Commands over one connection, without waiting for the answer to one before the next is sent (pipelining).

redis-py gives every command a connection of its own for its time, or makes a pipeline of those that are known
together. A storm of joins is neither: hundreds of scripts that are asked for one by one, each by somebody else.
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

from realtime_gateway.adapters.redis_connection import Connection, connect

UNDER_WAY = 256
"""More wait: a script takes Redis some 50 µs, and none is to wait for so long that it looks like a silent server."""
TIMEOUT_S = 1.0

Word = str | bytes | int
_Asked = tuple[tuple[Word, ...], "asyncio.Future[Any]"]


class Pipelining:
    """A connection that is made at the first need, and made again when it was lost.

    Where an answer is lost with the connection the command is sent once more: it must be one that may run twice.
    """

    def __init__(self, redis: Redis) -> None:
        """`redis` says where, and is not used itself."""
        self._make_connection: Callable[[], AbstractConnection] = redis.connection_pool.make_connection
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._under_way: deque[tuple[asyncio.Future[Any], float]] = deque()
        """In the order of their answers, with the time at which they were sent."""
        self._waiting: deque[_Asked] = deque()
        self._watch: asyncio.TimerHandle | None = None

    async def call(self, *command: Word) -> Any:
        """The answer, as hiredis reads it.

        Who stops waiting leaves a command that may still run.

        Raises:
            RedisError: the server refuses it, or cannot be reached, or does not answer within `TIMEOUT_S`.
            NoScriptError: it does not know the script.
        """
        try:
            answer = await self._asked(command)
        except RedisConnectionError:
            answer = await self._asked(command)
        if isinstance(answer, ReplyError):
            text = str(answer)
            raise NoScriptError(text) if text.startswith("NOSCRIPT") else ResponseError(text)
        return answer

    def close(self) -> None:
        """Close the connection; whoever waits for an answer gets none."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.fail("closed")
            self._lost(self._connection)

    async def _asked(self, command: tuple[Word, ...]) -> Any:
        connection = self._connection or await self._connected()
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if len(self._under_way) < UNDER_WAY:
            self._send(connection, command, reply)
        else:
            self._waiting.append((command, reply))
        return await reply

    async def _connected(self) -> Connection:
        connecting = self._connecting
        if connecting is None:
            connecting = self._connecting = asyncio.create_task(self._connect(), name="connect to Redis")
            connecting.add_done_callback(self._no_more_connecting)
        return await asyncio.shield(connecting)

    def _no_more_connecting(self, task: asyncio.Task[Connection]) -> None:
        self._connecting = None
        if not task.cancelled():
            # Who waited for it may have gone meanwhile.
            task.exception()

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                connection = await connect(self._make_connection(), self._answered)
        except OSError as error:
            raise RedisConnectionError(str(error) or type(error).__name__) from error
        self._connection = connection
        connection.lost.add_done_callback(lambda _why: self._lost(connection))
        return connection

    def _send(self, connection: Connection, command: tuple[Word, ...], reply: "asyncio.Future[Any]") -> None:
        loop = asyncio.get_running_loop()
        self._under_way.append((reply, loop.time()))
        connection.send(*command)
        if self._watch is None:
            self._watch = loop.call_later(TIMEOUT_S, self._look)

    def _answered(self, answer: Any) -> None:
        reply, _ = self._under_way.popleft()
        if not reply.done():
            reply.set_result(answer)
        while self._waiting and self._connection is not None and len(self._under_way) < UNDER_WAY:
            command, waiting = self._waiting.popleft()
            if not waiting.done():
                self._send(self._connection, command, waiting)

    def _look(self) -> None:
        """Whether the oldest command waits for too long."""
        self._watch = None
        if not self._under_way or self._connection is None:
            return
        loop = asyncio.get_running_loop()
        due_s = self._under_way[0][1] + TIMEOUT_S
        if due_s <= loop.time():
            self._connection.fail(f"no answer within {TIMEOUT_S} s")
        else:
            self._watch = loop.call_at(due_s, self._look)

    def _lost(self, connection: Connection) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        why = str(connection.lost.result())
        unanswered = [reply for reply, _ in self._under_way] + [reply for _, reply in self._waiting]
        self._under_way.clear()
        self._waiting.clear()
        for reply in unanswered:
            if not reply.done():
                reply.set_exception(RedisConnectionError(why))
