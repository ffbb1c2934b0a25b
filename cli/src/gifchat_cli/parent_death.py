"""Child processes that never outlive the process that started them."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """A `preexec_fn`: the kernel sends SIGTERM to the child when the thread that started it is gone (Linux only).

    This covers a parent that was killed and could not stop its children. SIGTERM and not SIGKILL, because a server
    with processes of its own (nginx's workers, a pool that decodes pictures) takes them along only if it can act.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
