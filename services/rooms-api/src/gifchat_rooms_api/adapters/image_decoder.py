"""Decode pictures in child processes: a few at once, each with resource limits, behind a short queue.

Each picture gets a new child, `image_child`, with an empty environment, so it inherits no secrets. The child limits
its own resources before it reads the picture, and the parent enforces a deadline.
"""

import asyncio
import struct
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass

import structlog

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_rooms_api import metrics
from gifchat_rooms_api.domain.gif import STILL_MAX_SIDE, Picture
from gifchat_rooms_api.ports import DecodedPicture

_log = structlog.get_logger(__name__)

MAX_OUTPUT_BYTES = 80 * 1024 * 1024
"""Room for a still and an upright picture; 4096 x 4096 incompressible pixels are 64 MiB."""

_LENGTHS = struct.Struct(">II")
_CHUNK_BYTES = 64 * 1024
_MAX_STDERR_BYTES = 500


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """Resource limits of decoding."""

    at_once: int = 2
    waiting: int = 32
    """Pictures that may wait; further ones are refused."""
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space of a child. The largest allowed picture takes about 400 MB."""
    cpu_s: int = 20
    """CPU time. The longest allowed animation takes about 5 s on a current machine."""
    deadline_s: float = 40.0
    """From the start of a child to its answer. Longer than `cpu_s`, so only an overloaded machine reaches it."""


class ImageDecoder:
    """`ports.GifDecoder` on Pillow, in child processes."""

    def __init__(
        self,
        limits: DecoderLimits | None = None,
        command: tuple[str, ...] = (sys.executable, "-I", "-B", "-m", "gifchat_rooms_api.adapters.image_child"),
    ) -> None:
        self._limits = limits or DecoderLimits()
        self._command = command
        self._slots = asyncio.Semaphore(self._limits.at_once)
        self._pictures = 0
        self._reaping: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Wait until all killed child processes are reaped."""
        while self._reaping:
            await asyncio.wait(set(self._reaping))

    async def decode(self, picture: Picture) -> DecodedPicture:
        if self._pictures >= self._limits.at_once + self._limits.waiting:
            raise Refused(errors.UNAVAILABLE)
        self._pictures += 1
        try:
            async with self._slots:
                return await self._decode(picture)
        finally:
            self._pictures -= 1

    async def _decode(self, picture: Picture) -> DecodedPicture:
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
                    output, error_output = await _exchange(child, picture.data)
            except TimeoutError as error:
                _log.warning("decoder_timed_out", format=picture.format.value, deadline_s=self._limits.deadline_s)
                raise Refused(errors.UNAVAILABLE) from error
            finally:
                await self._end(child)
        if child.returncode != 0:
            reason = error_output.decode(errors="replace")
            _log.info("gif_not_decoded", format=picture.format.value, exit_code=child.returncode, reason=reason)
            raise Refused(errors.GIF_BROKEN)
        return _decoded(output)

    async def _end(self, child: Process) -> None:
        """Kill the child if it is still running, and reap it even if the caller is cancelled."""
        if child.returncode is None:
            child.kill()
            task = asyncio.create_task(_reap(child))
            self._reaping.add(task)
            task.add_done_callback(self._reaping.discard)
            await asyncio.shield(task)


async def _exchange(child: Process, data: bytes) -> tuple[bytes, bytes]:
    """Send `data`, and return standard output and the beginning of standard error.

    Raises:
        Refused: `GIF_BROKEN` if the output is larger than that of any allowed picture.
    """
    stdin, stdout, stderr = _pipes(child)

    async def send_picture() -> None:
        try:
            stdin.write(data)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the child exited before it had read everything; its exit code says why
        finally:
            stdin.close()

    async def read_stderr() -> bytes:
        error_output = await stderr.read(_MAX_STDERR_BYTES)
        await _drain(stderr)
        return error_output

    sending, reading = asyncio.create_task(send_picture()), asyncio.create_task(read_stderr())
    try:
        output = bytearray()
        while chunk := await stdout.read(_CHUNK_BYTES):
            output += chunk
            if len(output) > MAX_OUTPUT_BYTES:
                raise Refused(errors.GIF_BROKEN)
        error_output = await reading
        await child.wait()
    finally:
        sending.cancel()
        reading.cancel()
        await asyncio.wait({sending, reading})
    return bytes(output), error_output


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


def _decoded(output: bytes) -> DecodedPicture:
    try:
        still_bytes, upright_bytes = _LENGTHS.unpack_from(output)
    except struct.error as error:
        raise Refused(errors.GIF_BROKEN) from error
    still = output[_LENGTHS.size : _LENGTHS.size + still_bytes]
    upright = output[_LENGTHS.size + still_bytes :]
    if not still or len(still) != still_bytes or len(upright) != upright_bytes:
        raise Refused(errors.GIF_BROKEN)
    return DecodedPicture(still, upright or None)
