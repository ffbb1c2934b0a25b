"""Decoding in child processes: at most a few at once, each with limits, and a short line in front of them.

The child is `image_child`. It is started for one picture and gets no environment, so it knows no secret; it sets its
own limits before it reads the picture, and this side holds it to a deadline.
"""

import asyncio
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_rooms_api import metrics
from gifchat_rooms_api.domain.gif import STILL_MAX_SIDE, Picture
from gifchat_rooms_api.ports import Decoded

_log = structlog.get_logger(__name__)

MAX_OUTPUT_BYTES = 80 * 1024 * 1024
"""A still and a turned picture; 4096 x 4096 pixels that no encoder can make smaller are 64 MiB."""

_LENGTHS = struct.Struct(">II")
_CHUNK_BYTES = 64 * 1024
_MAX_COMPLAINT_BYTES = 500


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """What decoding may take."""

    at_once: int = 2
    waiting: int = 32
    """Pictures in line; one more is refused."""
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space of a child. The largest picture that is allowed takes some 400 MB of it."""
    cpu_s: int = 20
    """Processor time; the longest animation that is allowed takes some 5 s on a machine of today."""
    deadline_s: float = 40.0
    """From the start of a child to its answer. Above `cpu_s`: only a machine that is too busy gets here."""


class ImageDecoder:
    """`ports.GifDecoder` on Pillow, in processes of its own."""

    def __init__(
        self,
        limits: DecoderLimits | None = None,
        command: tuple[str, ...] = (sys.executable, "-I", "-B", "-m", "gifchat_rooms_api.adapters.image_child"),
    ) -> None:
        self._limits = limits or DecoderLimits()
        self._command = command
        self._slots = asyncio.Semaphore(self._limits.at_once)
        self._waiting = 0
        self._reaping: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Wait until all killed child processes are reaped."""
        while self._reaping:
            await asyncio.wait(set(self._reaping))

    async def decode(self, picture: Picture) -> Decoded:
        """See `ports.GifDecoder`."""
        async with self._slot():
            return await self._decode(picture)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots.locked() and self._waiting >= self._limits.waiting:
            raise Refused(errors.UNAVAILABLE)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _decode(self, picture: Picture) -> Decoded:
        arguments = (picture.format.value, picture.frames, picture.orientation, STILL_MAX_SIDE)
        bounds = (self._limits.memory_bytes, self._limits.cpu_s)
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command, *map(str, (*arguments, *bounds)), stdin=PIPE, stdout=PIPE, stderr=PIPE, env={}
            )
        except OSError as error:
            _log.warning("decoder_not_started", error=str(error))
            raise Refused(errors.UNAVAILABLE) from error
        with metrics.DECODE_SECONDS.time():
            try:
                async with asyncio.timeout(self._limits.deadline_s):
                    output, complaint = await _exchange(child, picture.data)
            except TimeoutError as error:
                _log.warning("decoder_too_late", format=picture.format.value, deadline_s=self._limits.deadline_s)
                raise Refused(errors.UNAVAILABLE) from error
            finally:
                await self._end(child)
        if child.returncode != 0:
            reason = complaint.decode(errors="replace")
            _log.info("gif_not_decoded", format=picture.format.value, exit_code=child.returncode, reason=reason)
            raise Refused(errors.GIF_BROKEN)
        return _decoded(output)

    async def _end(self, child: Process) -> None:
        """Kill the child if it still runs, and reap it even if the caller is cancelled."""
        if child.returncode is None:
            child.kill()
            task = asyncio.create_task(_reap(child))
            self._reaping.add(task)
            task.add_done_callback(self._reaping.discard)
            await asyncio.shield(task)


async def _exchange(child: Process, data: bytes) -> tuple[bytes, bytes]:
    """Send `data`; returns what came on standard output, and the beginning of what came on standard error.

    Raises:
        Refused: `GIF_BROKEN`: more came than any picture gives.
    """
    stdin, stdout, stderr = _pipes(child)

    async def feed() -> None:
        try:
            stdin.write(data)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it ended before it had read everything; its exit code says the rest
        finally:
            stdin.close()

    async def listen() -> bytes:
        complaint = await stderr.read(_MAX_COMPLAINT_BYTES)
        await _drain(stderr)
        return complaint

    feeding, listening = asyncio.create_task(feed()), asyncio.create_task(listen())
    try:
        output = bytearray()
        while chunk := await stdout.read(_CHUNK_BYTES):
            output += chunk
            if len(output) > MAX_OUTPUT_BYTES:
                raise Refused(errors.GIF_BROKEN)
        complaint = await listening
        await child.wait()
    finally:
        feeding.cancel()
        listening.cancel()
        await asyncio.wait({feeding, listening})
    return bytes(output), complaint


async def _reap(child: Process) -> None:
    _, stdout, stderr = _pipes(child)
    await _drain(stdout)
    await _drain(stderr)
    await child.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(_CHUNK_BYTES):
        pass


def _pipes(child: Process) -> tuple[asyncio.StreamWriter, asyncio.StreamReader, asyncio.StreamReader]:
    if child.stdin is None or child.stdout is None or child.stderr is None:
        raise TypeError("the child was started without pipes")
    return child.stdin, child.stdout, child.stderr


def _decoded(output: bytes) -> Decoded:
    try:
        still_bytes, turned_bytes = _LENGTHS.unpack_from(output)
    except struct.error as error:
        raise Refused(errors.GIF_BROKEN) from error
    still = output[_LENGTHS.size : _LENGTHS.size + still_bytes]
    turned = output[_LENGTHS.size + still_bytes :]
    if not still or len(still) != still_bytes or len(turned) != turned_bytes:
        raise Refused(errors.GIF_BROKEN)
    return Decoded(still, turned or None)
