"""Judges deliveries: I1 (nothing lost), I2 (no duplicates), I3 (in order), I6 (nothing crosses rooms)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from faults.judge import records
from faults.judge.dump import Dump, Stored
from faults.judge.records import Record

Place = tuple[str, int]
"""(epoch, seq) in a reader's room."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One breach: the field of `checker.Verdict` that it counts in, and what happened."""

    field: str
    text: str


def acked_of(logs: Mapping[str, Sequence[Record]]) -> list[records.Acked]:
    """Return the acknowledgements of all writers."""
    return [record for log in logs.values() for record in log if isinstance(record, records.Acked)]


def stored_problems(logs: Mapping[str, Sequence[Record]], dump: Dump) -> Iterator[Problem]:
    """Compare the acknowledgements with the database, and check the database's own order."""
    at = {(entry.room, entry.epoch, entry.seq): entry for entry in dump.entries}
    seqs: dict[tuple[str, str], list[int]] = defaultdict(list)
    keys: dict[tuple[str, str, str], int] = {}
    for entry in dump.entries:
        seqs[entry.room, entry.epoch].append(entry.seq)
        if entry.chat:
            first = keys.setdefault((entry.room, entry.user, entry.key), entry.seq)
            if first != entry.seq:
                yield Problem("duplicated", f"{entry.key} is stored at {first} and {entry.seq}")
    for (room, _), numbers in seqs.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            yield Problem(
                "out_of_order",
                f"the log of {room} has holes or duplicates: {len(numbers)} entries, last seq {max(numbers)}",
            )
    acked: dict[tuple[str, str], records.Acked] = {}
    for ack in acked_of(logs):
        before = acked.setdefault((ack.room, ack.key), ack)
        if (before.epoch, before.seq) != (ack.epoch, ack.seq):
            yield Problem("duplicated", f"{ack.key} was acknowledged at {before.seq} and at {ack.seq}")
        stored = at.get((ack.room, ack.epoch, ack.seq))
        if stored is None or stored.key != ack.key:
            found = stored.key if stored else "nothing"
            yield Problem("false_acks", f"{ack.key} was acknowledged at {ack.seq}, where the database has {found}")
    for log in logs.values():
        for record in log:
            if isinstance(record, records.GaveUp):
                yield Problem("unsettled", f"{record.key} was not acknowledged in time")


def reader_problems(name: str, log: Sequence[Record], dump: Dump, acked: Sequence[records.Acked]) -> Iterator[Problem]:
    """Judge one reader's log."""
    begun = log[0]
    assert isinstance(begun, records.Begun), f"the log of {name} does not start with Begun"
    at = {(entry.epoch, entry.seq): entry for entry in dump.entries if entry.room == begun.room}
    yield from (Problem(problem.field, f"{name}: {problem.text}") for problem in _crossed(begun.room, log, at))
    yield from (Problem(problem.field, f"{name}: {problem.text}") for problem in _wire(log))
    yield from (Problem(problem.field, f"{name}: {problem.text}") for problem in _shown(log))
    if stayed(log):
        wanted = [ack for ack in acked if ack.room == begun.room]
        yield from (Problem("lost", f"{name}: {text}") for text in _lost(log, wanted))


def stayed(log: Sequence[Record]) -> bool:
    """Whether the reader stayed to the end. A log cut off by a crash counts as staying."""
    last = log[-1]
    return not isinstance(last, records.Stopped) or last.how == "end"


def _crossed(room: str, log: Sequence[Record], at: Mapping[Place, Stored]) -> Iterator[Problem]:
    for record in log:
        match record:
            case records.Received(room=said, seq=seq) if said != room:
                yield Problem("crossed", f"received {seq} of {said}")
            case records.Received(epoch=epoch, seq=seq, key=key) | records.Applied(epoch=epoch, seq=seq, key=key):
                stored = at.get((epoch, seq))
                if stored is None:
                    yield Problem("crossed", f"received {seq} ({key}), which the database does not have")
                elif stored.chat and stored.key != key:
                    yield Problem("crossed", f"received {key} at {seq}, where the database has {stored.key}")


class _Join:
    """The entries received from one join until the next."""

    def __init__(self, sent: records.JoinSent) -> None:
        self.declared = sent
        self.acked: records.Joined | None = None
        self.early: list[Place] = []
        self.seen: set[Place] = set()
        self.last = 0

    def joined(self, ack: records.Joined) -> None:
        self.acked = ack
        self.last = ack.seq
        # Entries before the ack may belong to an earlier join of the same connection, up to the ack's position.
        self.seen = {place for place in self.early if place > (ack.epoch, ack.seq) and place[0] == ack.epoch}
        self.last = max([ack.seq, *(seq for _, seq in self.seen)])

    def problem(self, place: Place, source: records.Source) -> Problem | None:
        if self.acked is None:
            self.early.append(place)
            return None
        known = self.acked.recovered and place[0] == self.declared.epoch and place[1] <= self.declared.seq
        if place in self.seen or known:
            return Problem("duplicated", f"was sent {place[1]} again ({source})")
        self.seen.add(place)
        if source == "live":
            if place[0] == self.acked.epoch and place[1] <= self.last:
                return Problem("out_of_order", f"was sent {place[1]} after {self.last}")
            self.last = place[1]
        return None


def _wire(log: Sequence[Record]) -> Iterator[Problem]:
    """Check what the gateways sent after each join: in order, no duplicates, and nothing the reader already had."""
    join: _Join | None = None
    for record in log:
        match record:
            case records.JoinSent():
                join = _Join(record)
            case records.Joined() if join is not None:
                join.joined(record)
            case records.Received(source="live" | "recent" as source, epoch=epoch, seq=seq):
                if join is None:
                    yield Problem("crossed", f"was sent {seq} before it had joined")
                elif (problem := join.problem((epoch, seq), source)) is not None:
                    yield problem
            case _:
                pass


def _shown(log: Sequence[Record]) -> Iterator[Problem]:
    """Check what the reader shows: no holes and no duplicates within a view."""
    last: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    for record in log:
        match record:
            case records.ViewBegan(view=view, seq=seq):
                last[view] = seq
            case records.Applied(view=view, seq=seq):
                if (view, seq) in seen:
                    yield Problem("duplicated", f"showed {seq} twice")
                elif seq != last.get(view, 0) + 1:
                    yield Problem("out_of_order", f"showed {seq} after {last.get(view, 0)}")
                seen.add((view, seq))
                last[view] = max(seq, last.get(view, 0))
            case _:
                pass


def _lost(log: Sequence[Record], acked: Sequence[records.Acked]) -> Iterator[str]:
    first = next((record for record in log if isinstance(record, records.ViewBegan)), None)
    if first is None:
        return
    shown = {(record.epoch, record.seq) for record in log if isinstance(record, records.Applied)}
    for ack in acked:
        if ack.epoch == first.epoch and ack.seq > first.seq and (ack.epoch, ack.seq) not in shown:
            yield f"never received {ack.seq} ({ack.key})"
