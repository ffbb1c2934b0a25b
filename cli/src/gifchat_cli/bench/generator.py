"""Compiles the load generator, a C program, and drives it over its standard input and output."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gifchat_cli.prerequisites import PrerequisiteError
from gifchat_contracts.ids import RoomId

SOURCE = Path(__file__).with_name("load_generator.c")
MAX_CLIENTS = 60_000
"""The same limit as in the C source."""

ENTER = '40/chat,{"restore":false}'
"""Opens the namespace without restoring a session. The page does the same, because both rejoin rooms themselves."""

STAMP = f"T={0:016d} N={0:08d} G={0:08d}"
"""The stamp that the generator looks for in a message: time, number in its room, number in the run."""

_ANSWER_MARGIN_S = 15.0
_STOP_TIMEOUT_S = 10.0


class GeneratorError(Exception):
    """The generator exited or does not answer."""


def stamp(at_us: int, number: int, in_run: int) -> str:
    """Return a text that the generator recognizes; `at_us` is a time of the monotonic clock."""
    return f"T={at_us:016d} N={number:08d} G={in_run:08d}"


def join_packet(room_id: RoomId) -> str:
    """Return the packet that joins a room."""
    return f'42/chat,0["join","{room_id}"]'


def client_line(room: int, cookie: str, room_id: RoomId) -> str:
    """Return a client's line in the generator's file: `room` is the room's index, `cookie` is `name=value`."""
    return f"{room}\t{cookie}\t{ENTER}\t{join_packet(room_id)}\n"


def build(program: Path) -> None:
    """Compile the generator to `program`.

    Raises:
        PrerequisiteError: there is no C compiler, or it fails.
    """
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise PrerequisiteError(
            "The load generator is a C program, and there is no C compiler: run `apt-get install gcc libc6-dev` "
            "(Debian, Ubuntu) or your system's equivalent, or name one in the variable CC."
        )
    try:
        compiled = subprocess.run(
            [compiler, "-O2", "-o", str(program), str(SOURCE)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise PrerequisiteError(f"Cannot start the C compiler {compiler}: {error.strerror}.") from error
    if compiled.returncode != 0:
        remedy = ": the C library's headers are missing, `apt-get install libc6-dev`" if ".h" in compiled.stderr else ""
        raise PrerequisiteError(f"{compiler} cannot compile the load generator{remedy}.\n{compiled.stderr.strip()}")


class LoadGenerator:
    """A running generator. The comment at the top of its source lists the commands and answers."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._answers = b""

    def ask(self, command: str, timeout_s: float) -> dict[str, Any]:
        """Send a command that takes at most `timeout_s`, and return its answer.

        Raises:
            GeneratorError: there is no answer.
        """
        self.tell(command)
        return self.answer(timeout_s)

    def tell(self, command: str) -> None:
        """Send a command; `answer` returns its result."""
        if self._process.stdin is None:
            raise RuntimeError("no pipe")
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise GeneratorError("the load generator exited") from error

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            GeneratorError: there is no answer.
        """
        out = self._process.stdout
        if out is None:
            raise RuntimeError("no pipe")
        deadline = time.monotonic() + timeout_s + _ANSWER_MARGIN_S
        while b"\n" not in self._answers:
            ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
            got = os.read(out.fileno(), 65_536) if ready else b""
            if not got:
                raise GeneratorError(f"the load generator {'exited' if ready else 'does not answer'}")
            self._answers += got
        line, _, self._answers = self._answers.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(command: Sequence[str]) -> Iterator[LoadGenerator]:
    """Start the generator; stop it afterwards, which closes all its connections."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Only our process gets the terminal's Ctrl-C.
    )
    try:
        yield LoadGenerator(process)
    except BaseException:
        process.kill()
        raise
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
