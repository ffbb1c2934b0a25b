"""The control socket in the data folder: the command line sends the supervisor one JSON object per line."""

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
    """No supervisor listens on the control socket."""


class RefusedError(Exception):
    """The supervisor refused the request; `str()` is a sentence for the user."""


def call(path: Path, request: Request, timeout_s: float = 10.0) -> Answer:
    """Send one request and wait for its answer. Blocks.

    Raises:
        NotRunningError: there is no supervisor, or it exited or timed out before it answered.
        RefusedError: the supervisor refused the request.
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
        raise NotRunningError("the supervisor exited")
    answer: Answer = json.loads(line)
    if not answer.get("ok"):
        raise RefusedError(answer.get("error", "refused"))
    return answer


async def serve(path: Path, handle: Callable[[Request], Awaitable[Answer]]) -> asyncio.Server:
    """Serve requests on the socket `path`, which only this user can open.

    `path` must not exist. If `handle` raises `RefusedError` or `ValueError`, its text becomes the answer.
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
            return {"ok": False, "error": "a request must be a JSON object"}
        return {"ok": True, **await handle(request)}
    except (RefusedError, ValueError) as error:
        return {"ok": False, "error": str(error)}
