"""Sends HTTP requests over persistent connections with a minimal client, so that the client costs little itself."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.harness.load import RunFailedError

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read in full."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; if a header is repeated, only its last value is kept."""
    body: bytes


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "host: bench", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def send(
    port: int, requests: Sequence[bytes], *, connections: int, per_s: float | None = None, status: int = 200
) -> list[float]:
    """Send all requests, each on the next free connection; return the seconds that each took.

    `per_s`: requests due per second; a request's time counts from when it was due. None: as fast as possible.

    Raises:
        RunFailedError: an answer's status is not `status`.
    """
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    try:
        return await _send(lines, requests, per_s, _expect(status))
    finally:
        for _, writer in lines:
            writer.close()


def _expect(status: int) -> Callable[[Answer], None]:
    def check(answer: Answer) -> None:
        if answer.status != status:
            raise RunFailedError(f"{answer.status} in place of {status}: {answer.body[:400]!r}")

    return check


async def _send(
    lines: Sequence[Line],
    requests: Sequence[bytes],
    per_s: float | None,
    check: Callable[[Answer], None],
) -> list[float]:
    took: list[float] = []
    queue = deque(requests)
    began = time.monotonic()

    async def work(line: Line) -> None:
        while queue:
            number = len(requests) - len(queue)
            content = queue.popleft()
            due = began + number / per_s if per_s else time.monotonic()
            if (wait_s := due - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            check(await exchange(line, content))
            took.append(time.monotonic() - due)

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(work(line))
    return took


async def exchange(line: Line, content: bytes) -> Answer:
    """Send one request and read its answer."""
    reader, writer = line
    writer.write(content)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(first.split()[1]), headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return b"".join(parts)
