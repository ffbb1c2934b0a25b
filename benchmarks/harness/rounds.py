"""Interleaved rounds and their results."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import machine


@dataclass(frozen=True)
class Options:
    """The size of a run."""

    rounds: int = 5
    quick: bool = False
    checkouts: tuple[Path, ...] = ()
    """Other checkouts of this repository, whose gateways are measured too."""

    def size(self, full: int, quick: int) -> int:
        """Return `full`, or `quick` in a quick run."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Figure:
    """A value, measured several times."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return the form that is stored in `results/`."""
        return {"median": self.median, "min": min(self.values), "max": max(self.values), "values": list(self.values)}


@dataclass(frozen=True)
class Bar:
    """A limit that a figure must meet."""

    text: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        """Whether the figure meets the limit."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass
class Result:
    """The result of a benchmark."""

    case: str
    title: str
    columns: Mapping[str, str]
    """Name of a figure → column heading with unit."""
    rows: dict[str, dict[str, Figure]] = field(default_factory=dict)
    """Label → figures by name."""
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """For plots: label → points."""
    x_axis: str = ""
    y_axis: str = ""

    def ratio(self, bar: str, one: str, other: str, figure: str, limit: float, *, at_most: bool = True) -> None:
        """Set a bar on the ratio of two rows."""
        if one in self.rows and other in self.rows:
            value = self.rows[one][figure].median / self.rows[other][figure].median
            self.bars.append(Bar(bar, value, limit, at_most))

    def bar(self, bar: str, row: str, figure: str, limit: float, *, at_most: bool = True) -> None:
        """Set a bar on a row's figure."""
        if row in self.rows:
            self.bars.append(Bar(bar, self.rows[row][figure].median, limit, at_most))

    def point(self, curve: str, at: int, name: str, values: Sequence[float]) -> None:
        """Add a point to a curve, and a row for it."""
        figure = Figure(tuple(values))
        unit = self.x_axis.removesuffix("s") if at == 1 else self.x_axis
        self.rows[f"{curve}, {at:,} {unit}"] = {name: figure}
        self.curves.setdefault(curve, []).append((float(at), figure.median))

    def as_json(self, options: Options, seconds: float) -> dict[str, Any]:
        """Return the form that is stored in `results/`."""
        return {
            "case": self.case,
            "title": self.title,
            "columns": dict(self.columns),
            "rows": {
                label: {name: figure.as_json() for name, figure in row.items()} for label, row in self.rows.items()
            },
            "bars": [
                {"bar": bar.text, "value": bar.value, "limit": bar.limit, "at_most": bar.at_most, "met": bar.met}
                for bar in self.bars
            ],
            "notes": self.notes,
            "curves": self.curves,
            "axes": [self.x_axis, self.y_axis],
            "rounds": options.rounds,
            "quick": options.quick,
            "seconds": round(seconds),
            "machine": machine.facts(),
        }


Measure = Callable[[], Mapping[str, float]]


def interleaved(
    measures: Mapping[str, Measure], rounds: int, log: Callable[[str], None]
) -> dict[str, dict[str, Figure]]:
    """Run A B C, A B C, …, so that changes in the machine affect all contenders alike."""
    values: dict[str, dict[str, list[float]]] = {label: {} for label in measures}
    for number in range(rounds):
        for label, measure in measures.items():
            began = time.monotonic()
            measured = measure()
            for name, value in measured.items():
                values[label].setdefault(name, []).append(value)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
            log(f"  round {number + 1}/{rounds}  {label:<48} {shown}  ({time.monotonic() - began:.1f} s)")
    return figures(values)


def figures(values: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, Figure]]:
    """Turn lists of values into figures."""
    return {label: {name: Figure(tuple(each)) for name, each in row.items()} for label, row in values.items()}
