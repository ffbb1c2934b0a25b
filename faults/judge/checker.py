"""Judges a run by its records and a dump of the database, and by nothing else. No I/O.

Invariants and their fields: I1 `lost`, `false_acks`, `unsettled` · I2 `duplicated` · I3 `out_of_order` ·
I4 `over_admitted`, `seats_lost` · I5 `ghosts` · I6 `crossed` · I7 `leaked` · I8 `reconnects`. The field `slow` counts
times over a row's limit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from faults.judge import records
from faults.judge.delivery import Problem, acked_of, reader_problems, stored_problems
from faults.judge.dump import Dump
from faults.judge.records import Record
from faults.judge.seats import ghosts_s, lost_seats, over_admissions, readers_of
from faults.judge.times import heal_s, leaks, peak_reconnects_per_s, resumes_s
from gifchat_contracts import limits

_MAX_TEXTS_PER_KIND = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a row promises beyond zero losses. None: the value is reported but not judged."""

    ghosts_s: float = limits.LEASE_TTL_S + 1.0 + 0.5
    """A lease, a sweep, and half a second for the watcher to ask."""
    seats_kept_s: float | None = limits.LEASE_TTL_S - limits.LEASE_RENEW_S - 0.5
    """A user who returns within this time keeps the seat, even if the gateway was killed. None: seats may be lost."""
    late_s: float = 0.5
    """An acknowledgement or delivery after this time is late (see `heal_s`)."""
    resume_p99_s: float | None = None
    heal_s: float | None = None
    reconnects_per_s: int | None = None
    rss_growth_bytes: int = 64 * 2**20
    files_growth: int = 80
    """A service's Redis pool may grow to 72 connections, which it then keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of a run: counts of breaches, figures, and descriptions of the first breaches of each kind."""

    acknowledged: int
    delivered: int
    """Entries shown by all readers together."""
    lost: int = 0
    false_acks: int = 0
    unsettled: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    over_admitted: int = 0
    seats_lost: int = 0
    ghosts: int = 0
    crossed: int = 0
    leaked: int = 0
    reconnects: int = 0
    slow: int = 0
    resyncs: int = 0
    ghosts_max_s: float = 0.0
    resume_s: tuple[float, ...] = ()
    heal_s: float = 0.0
    peak_reconnects_per_s: int = 0
    breaches: tuple[str, ...] = ()
    """The names of the fields above that are breached."""
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no breach."""
        return not self.breaches


def judge(logs: Mapping[str, Sequence[Record]], dump: Dump, promised: Limits | None = None) -> Verdict:
    """Judge a run; `logs` maps clients to their records, as `records.read` returns them."""
    promised = promised or Limits()
    acked = acked_of(logs)
    readers = readers_of(logs)
    ghosts = ghosts_s(logs)
    resumes = tuple(sorted(resumes_s(logs)))
    healed_s, peak = heal_s(logs, promised.late_s), peak_reconnects_per_s(logs)

    problems = [*stored_problems(logs, dump), *over_admissions(logs)]
    for name, log in readers.items():
        problems += reader_problems(name, log, dump, acked)
    if promised.seats_kept_s is not None:
        problems += lost_seats(logs, promised.seats_kept_s)
    problems += leaks(logs, promised.rss_growth_bytes, promised.files_growth)
    problems += [
        Problem("ghosts", f"a seat was freed {seconds:.1f} s after its user left")
        for seconds in ghosts
        if seconds > promised.ghosts_s
    ]
    if promised.reconnects_per_s is not None and peak > promised.reconnects_per_s:
        problems.append(Problem("reconnects", f"{peak} reconnects in one second"))
    if promised.resume_p99_s is not None and percentile(resumes, 99) > promised.resume_p99_s:
        problems.append(Problem("slow", f"resuming took {percentile(resumes, 99):.1f} s (p99)"))
    if promised.heal_s is not None and healed_s > promised.heal_s:
        problems.append(Problem("slow", f"healing took {healed_s:.1f} s"))

    counts = Counter(problem.field for problem in problems)
    return Verdict(
        acknowledged=len({(ack.room, ack.key) for ack in acked}),
        delivered=_count(readers, records.Applied),
        resyncs=_count(readers, records.Resync),
        ghosts_max_s=max(ghosts, default=0.0),
        resume_s=resumes,
        heal_s=healed_s,
        peak_reconnects_per_s=peak,
        breaches=tuple(sorted(counts)),
        problems=_in_words(problems),
        **counts,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile by nearest rank; 0 without values."""
    ranked = sorted(values)
    return ranked[max(0, ceil(len(ranked) * percent / 100) - 1)] if ranked else 0.0


def _count(logs: Mapping[str, Sequence[Record]], kind: type[Record]) -> int:
    return sum(isinstance(record, kind) for log in logs.values() for record in log)


def _in_words(problems: Sequence[Problem]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    words = []
    for problem in problems:
        seen[problem.field] += 1
        if seen[problem.field] <= _MAX_TEXTS_PER_KIND:
            words.append(f"{problem.field}: {problem.text}")
    return tuple(words)
