"""Judges times, I8 (the rate of reconnects) and I7 (the processes' resources afterwards)."""

from collections.abc import Iterator, Mapping, Sequence

from faults.judge import records
from faults.judge.delivery import Problem
from faults.judge.records import Record
from faults.judge.seats import readers_of

Logs = Mapping[str, Sequence[Record]]


def resumes_s(logs: Logs) -> list[float]:
    """Return the seconds from each lost connection to the next join, for all readers."""
    durations = []
    for log in readers_of(logs).values():
        joined, away_since = False, None
        for record in log:
            match record:
                case records.Disconnected(t=t) if joined:
                    joined, away_since = False, t
                case records.Joined(t=t):
                    if away_since is not None:
                        durations.append(t - away_since)
                    joined, away_since = True, None
                case _:
                    pass
    return durations


def heal_s(logs: Logs, late_s: float) -> float:
    """Return the seconds from the end of the fault to the last late acknowledgement or delivery; 0 without any.

    An acknowledgement is late if it comes more than `late_s` after the first attempt. A delivery is late if it is
    shown more than `late_s` after the acknowledgement, or after the reader's first join if that was later.
    """
    flat = [record for log in logs.values() for record in log]
    ended_at = max((record.t for record in flat if isinstance(record, records.FaultEnded)), default=None)
    if ended_at is None:
        return 0.0
    begun_at: dict[tuple[str, str], float] = {}
    acked_at: dict[tuple[str, str, int], float] = {}
    late = [ended_at]
    for record in flat:
        match record:
            case records.Attempt(t=t, room=room, key=key):
                begun_at[room, key] = min(t, begun_at.get((room, key), t))
            case records.Acked(t=t, room=room, epoch=epoch, seq=seq):
                acked_at[room, epoch, seq] = t
    late += [
        record.t
        for record in flat
        if isinstance(record, records.Acked) and record.t - begun_at.get((record.room, record.key), record.t) > late_s
    ]
    for log in readers_of(logs).values():
        begun = log[0]
        assert isinstance(begun, records.Begun)
        joined_at = next((record.t for record in log if isinstance(record, records.Joined)), 0.0)
        for record in log:
            if isinstance(record, records.Applied):
                due = max(joined_at, acked_at.get((begun.room, record.epoch, record.seq), record.t))
                if record.t - due > late_s:
                    late.append(record.t)
    return max(late) - ended_at


def peak_reconnects_per_s(logs: Logs) -> int:
    """Return the maximum number of connections within a second, without each reader's first one."""
    times = []
    for log in readers_of(logs).values():
        times += [record.t for record in log if isinstance(record, records.Connected)][1:]
    times.sort()
    return max((sum(1 for other in times if t <= other < t + 1.0) for t in times), default=0)


def leaks(logs: Logs, rss_growth_bytes: int, files_growth: int) -> Iterator[Problem]:
    """Find processes that use more resources after the clients left than before; a restarted process is skipped."""
    before: dict[tuple[str, int], records.Used] = {}
    for log in logs.values():
        for record in log:
            match record:
                case records.Used(phase="before"):
                    before[record.process, record.pid] = record
                case records.Used(process=process, pid=pid) if (process, pid) in before:
                    was = before[process, pid]
                    if record.files - was.files > files_growth:
                        yield Problem("leaked", f"{process}: {was.files} open files before, {record.files} after")
                    if record.rss_bytes - was.rss_bytes > rss_growth_bytes:
                        grown = (record.rss_bytes - was.rss_bytes) / 2**20
                        yield Problem("leaked", f"{process} has grown by {grown:.0f} MiB")
                case _:
                    pass
