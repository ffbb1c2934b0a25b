"""A row of the fault table: the fault, the cluster and load that it needs, and its promises."""

import importlib
import pkgutil
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from faults.clients.load import Load, LoadShape
from faults.judge.checker import Limits
from faults.system.cluster import FaultCluster, Shape

Figures = Mapping[str, float]
"""Name with unit (`deaf for, s`) → value; the page shows the p50 and the maximum of all runs."""
Inject = Callable[[FaultCluster, Load, random.Random], Awaitable[Figures | None]]
"""Injects the fault, and returns the row's own figures once the cause is gone; the time to heal counts from then.
If it keeps checking after that, it first calls `load.fault_over()`.

It is called under load, at a random moment. It uses only the given random generator, gives every wait a deadline, and
raises AssertionError if the fault did not happen as intended. `load.short` asks for a short form. `RowRunner` repairs
what is still broken before the next run. If a fault must end earlier, the row ends it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. Rows of equal `shape` share a cluster: they run one after the other, each with its own rooms."""

    name: str
    """Short and unique, for example `gateway killed`."""
    fault: str
    """A phrase for the page that describes the fault."""
    inject: Inject
    shape: Shape = field(default_factory=Shape)
    load: LoadShape = field(default_factory=LoadShape)
    limits: Limits = field(default_factory=Limits)
    settle_s: float = 3.0
    """How long the load continues after the fault; the short form takes a third of it."""
    catch_up_s: float = 20.0
    """How long readers and writers then have to catch up."""
    own_network: bool = False
    """Whether it drops packets and therefore needs a network namespace, see `network`."""
    caught_by: frozenset[str] = frozenset()
    """For a mutant: the checker must find a breach in at least one of these fields of `Verdict`."""

    @property
    def is_mutant(self) -> bool:
        """Whether the checker must catch it."""
        return bool(self.caught_by)


def slug(name: str) -> str:
    """Turn a row's name into a file name."""
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def load_rows() -> list[Row]:
    """Return the `ROWS` of every module in `faults.rows`, in the order of the modules' names.

    Raises:
        ValueError: two rows have the same name.
    """
    package = importlib.import_module("faults.rows")
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    rows: list[Row] = [row for name in modules for row in importlib.import_module(f"faults.rows.{name}").ROWS]
    names = [row.name for row in rows]
    if len(names) != len(set(names)):
        raise ValueError(f"two rows have the same name: {sorted(names)}")
    return rows
