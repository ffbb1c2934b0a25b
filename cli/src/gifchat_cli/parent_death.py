"""Makes child processes exit together with their parent."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """A `preexec_fn`: the kernel sends SIGTERM to the child when the thread that started it ends (Linux only).

    This covers a parent that was killed and could not stop its children. The signal is SIGTERM, because a server can
    then stop its own children first (nginx's workers, the image decoders of rooms-api).
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
