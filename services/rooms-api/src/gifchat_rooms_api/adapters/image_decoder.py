"""Decode pictures in child processes: a few at once, each with resource limits, behind a short and fair queue.

Each picture gets a new child, `image_child`, with an empty environment, so it inherits no secrets. The child limits
its own resources before it reads the picture. The parent gives it a low priority and enforces a deadline.
"""

import asyncio
import os
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_rooms_api import metrics
from gifchat_rooms_api.domain.fair_queue import FairQueue, QueueFullError
from gifchat_rooms_api.domain.gif import STILL_MAX_SIDE, Picture
from gifchat_rooms_api.ports import DecodedPicture

_log = structlog.get_logger(__name__)

MAX_OUTPUT_BYTES = 80 * 1024 * 1024
"""Room for a still and a repaired picture; 4096 x 4096 incompressible pixels are 64 MiB."""

_LENGTHS = struct.Struct(">II")
_CHUNK_BYTES = 64 * 1024
_MAX_STDERR_BYTES = 500
_AUTOGROUP_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """Resource limits of decoding."""

    at_once: int = 2
    waiting: int = 32
    """Pictures that may wait; further ones are refused."""
    waiting_per_address: int = 16
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space of a child. The largest allowed picture takes about 400 MB."""
    cpu_s: int = 20
    """CPU time of a child. The longest allowed animation takes about 2 s on a current machine."""
    deadline_s: float = 30.0
    """Maximum time from the call to its answer, including the wait."""
    niceness: int = 15
    """Niceness of a child and of its session. Decoding takes only the CPU time that requests leave."""


class ImageDecoder:
    """`ports.GifDecoder` on Pillow, in child processes."""

    def __init__(
        self,
        limits: DecoderLimits | None = None,
        command: tuple[str, ...] = (sys.executable, "-I", "-B", "-m", "gifchat_rooms_api.adapters.image_child"),
    ) -> None:
        self._limits = limits or DecoderLimits()
        self._command = command
        # One address takes all slots only if there is just one. So others need not wait for its longest picture.
        self._queue = FairQueue[asyncio.Future[None]](
            at_once=self._limits.at_once,
            at_once_each=max(1, self._limits.at_once - 1),
            waiting=self._limits.waiting,
            waiting_each=self._limits.waiting_per_address,
        )
        self._reaping: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Wait until all killed child processes are reaped."""
        while self._reaping:
            await asyncio.wait(set(self._reaping))

    async def decode(self, picture: Picture, address: str) -> DecodedPicture:
        try:
            async with asyncio.timeout(self._limits.deadline_s), self._slot(address, picture.decoded_pixels):
                return await self._decode(picture)
        except QueueFullError as error:
            raise Refused(errors.UNAVAILABLE) from error
        except TimeoutError as error:
            _log.warning("decoder_timed_out", format=picture.format.value, deadline_s=self._limits.deadline_s)
            raise Refused(errors.UNAVAILABLE) from error

    @asynccontextmanager
    async def _slot(self, address: str, cost: int) -> AsyncIterator[None]:
        """Wait for the turn of `address`, and take a slot. A caller that stops waiting leaves the queue."""
        turn = asyncio.get_running_loop().create_future()
        place = self._queue.add(address, cost, turn)
        try:
            self._start_next()
            await turn
            yield
        finally:
            self._queue.remove(place)
            self._start_next()

    def _start_next(self) -> None:
        while (turn := self._queue.start_next()) is not None:
            if not turn.done():  # cancelled: its caller is about to leave the queue
                turn.set_result(None)

    async def _decode(self, picture: Picture) -> DecodedPicture:
        arguments = (
            picture.format.value,
            picture.frames,
            picture.orientation,
            int(picture.encode_again),
            STILL_MAX_SIDE,
        )
        bounds = (self._limits.memory_bytes, self._limits.cpu_s)
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                *map(str, (*arguments, *bounds)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env={},
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("decoder_not_started", error=str(error))
            raise Refused(errors.UNAVAILABLE) from error
        lowering = asyncio.create_task(_lower_priority(child, self._limits.niceness))
        with metrics.DECODE_SECONDS.time():
            try:
                output, error_output = await _exchange(child, picture.data)
            finally:
                lowering.cancel()
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


async def _lower_priority(child: Process, niceness: int) -> None:
    """Lower the priority of the child, and of its session against the sessions of other processes."""
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, child.pid, niceness)
    # Linux's autogroups divide the CPU between sessions first. The child's niceness counts only within its session.
    while child.returncode is None:
        try:
            _set_session_niceness(child.pid, niceness)
        except BlockingIOError:  # The kernel takes one change in 100 ms.
            await asyncio.sleep(_AUTOGROUP_RETRY_S)
        except OSError:  # This system has no autogroups, or the child has ended.
            return
        else:
            return


def _set_session_niceness(pid: int, niceness: int) -> None:
    Path(f"/proc/{pid}/autogroup").write_text(str(niceness), encoding="ascii")


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
        still_bytes, repaired_bytes = _LENGTHS.unpack_from(output)
    except struct.error as error:
        raise Refused(errors.GIF_BROKEN) from error
    still = output[_LENGTHS.size : _LENGTHS.size + still_bytes]
    repaired = output[_LENGTHS.size + still_bytes :]
    if not still or len(still) != still_bytes or len(repaired) != repaired_bytes:
        raise Refused(errors.GIF_BROKEN)
    return DecodedPicture(still, repaired or None)
