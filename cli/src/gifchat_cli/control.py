"""The command line talks to the running supervisor over a socket in the data folder: one JSON object a line."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Request = dict[str, Any]
"""`{"command": "status"}`, `{"command": "stop"}`, `{"command": "scale", "what": "gateways", "count": 5}`,
`{"command": "drain", "name": "gateway-1"}`, `{"command": "shed", "name": "gateway-1", "share": 0.3}` or
`{"command": "restart", "what": "gateways"}` (or the name of one)."""

Answer = dict[str, Any]
"""`{"ok": true, …}` or `{"ok": false, "error": "one sentence"}`."""


class NotRunningError(Exception):
    """Nobody listens on the control socket."""


class RefusedError(Exception):
    """The supervisor refused the request; `str()` is its sentence."""


def call(path: Path, request: Request, timeout_s: float = 10.0) -> Answer:
    """Send one request and wait for its answer. Blocks.

    Raises:
        NotRunningError: no supervisor, or it ended before it answered.
        RefusedError: the supervisor said why not.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fspath(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as reader:
                line = reader.readline()
        except OSError as error:
            raise NotRunningError(str(error)) from error
    if not line:
        raise NotRunningError("the supervisor ended")
    answer: Answer = json.loads(line)
    if not answer.get("ok"):
        raise RefusedError(answer.get("error", "refused"))
    return answer


async def serve(path: Path, handle: Callable[[Request], Awaitable[Answer]]) -> asyncio.Server:
    """Answer requests on `path`, which only this user can reach.

    `path` must not exist. `handle` may raise `RefusedError` or `ValueError`: the sentence is the answer.
    """

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, handle)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    previous = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(on_connection, path)
    finally:
        os.umask(previous)


async def _answer(line: bytes, handle: Callable[[Request], Awaitable[Answer]]) -> Answer:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            return {"ok": False, "error": "a request is a JSON object"}
        return {"ok": True, **await handle(request)}
    except (RefusedError, ValueError) as error:
        return {"ok": False, "error": str(error)}
