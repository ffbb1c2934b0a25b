"""Writes the page `docs/faults.md` from the summaries of all rows."""

from collections.abc import Sequence

from faults.results import Summary
from faults.row import Row

_HEAD = """\
# Faults

What we broke under load, and how the system coped. `make faults` generates this page from `faults/results.jsonl`;
do not edit it.

Every run uses real servers. Readers on both transports and writers connect through nginx, and clients record everything
that they send, receive and show. The checker (`faults/judge/checker.py`) sees only these records and a dump of the
database.

- *Lost*: acknowledged messages that the database does not have, or that a reader who stayed or came back never got.
- *Duplicated*: sent again after one join, shown twice or stored twice.
- *Disordered*: a hole or a step back in what was sent, shown or stored.
- *Over-admitted*: members, or users who receive one event, above `max`.
- *To heal*: from the end of the fault to the last acknowledgement or delivery that was more than 0.5 s late.
- *To resume*: from a reader's lost connection to its next join.
- *Ghosts*: the longest time that a seat stayed taken after its user was gone.
- *Also*: further figures of a row, as the median and the maximum over its runs.
"""
_ALSO = ("seats_lost", "ghosts", "crossed", "leaked", "reconnects", "slow")


def page(rows: Sequence[Row], summaries: Sequence[Summary]) -> str:
    """Return the text of `docs/faults.md`, in the order of `rows`; rows without results say so."""
    by_row = {summary.row: summary for summary in summaries}
    lines = [
        _HEAD,
        "| fault | runs | acknowledged | lost | duplicated | disordered | over-admitted "
        "| to heal p50 / p99, s | to resume p50 / p99, s | also |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(row, by_row.get(row.name)) for row in rows if not row.is_mutant]
    lines += [
        "",
        "## Mutants",
        "",
        "The checker itself is tested: we remove one guarantee from the gateway, and the checker must fail.",
        "",
        "| removed | runs | caught | by |",
        "| --- | --- | --- | --- |",
    ]
    lines += [_mutant_line(row, by_row.get(row.name)) for row in rows if row.is_mutant]
    return "\n".join(lines) + "\n"


def _line(row: Row, summary: Summary | None) -> str:
    what = f"**{row.name}**: {row.fault}"
    if summary is None or not summary.seeds:
        return f"| {what} | 0 | – | – | – | – | – | – | – | |"

    breaches = summary.breaches

    def total(*names: str) -> str:
        return str(sum(breaches.get(name, 0) for name in names))

    cells = [
        what,
        str(len(summary.seeds)),
        f"{summary.acknowledged:,}",
        total("lost", "false_acks", "unsettled"),
        total("duplicated"),
        total("out_of_order"),
        total("over_admitted"),
        _times(summary.heal_s),
        _times(summary.resume_s),
        "; ".join(_also(summary)),
    ]
    return "| " + " | ".join(cells) + " |"


def _also(summary: Summary) -> list[str]:
    """Return the remaining figures that are not zero."""
    also = []
    if summary.ghosts_max_s:
        also.append(f"ghosts up to {summary.ghosts_max_s:.1f} s")
    if summary.peak_reconnects_per_s:
        also.append(f"up to {summary.peak_reconnects_per_s} reconnects a second")
    if summary.resyncs:
        also.append(f"{summary.resyncs} resyncs")
    also += [f"{name} {p50:g} (max {most:g})" for name, (p50, most) in sorted(summary.figures.items())]
    also += [f"**{name} {summary.breaches[name]}**" for name in _ALSO if name in summary.breaches]
    if summary.unfinished:
        also.append(f"**seeds {summary.unfinished} did not finish**")
    return also


def _mutant_line(row: Row, summary: Summary | None) -> str:
    if summary is None or not summary.seeds:
        return f"| **{row.name}**: {row.fault} | 0 | – | – |"
    caught_by = ", ".join(sorted(summary.breaches))
    return f"| **{row.name}**: {row.fault} | {len(summary.seeds)} | {summary.good} | {caught_by} |"


def _times(p50_and_p99: Sequence[float]) -> str:
    return " / ".join(f"{seconds:.2f}" for seconds in p50_and_p99) or "–"
