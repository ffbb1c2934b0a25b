"""The rows of the fault table: what each does, on what, and what it promises."""

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
"""Name with its unit (`deaf for, s`) → value; of many runs the table shows p50 and the greatest."""
Inject = Callable[[FaultCluster, Load, random.Random], Awaitable[Figures | None]]
"""Breaks something, and returns when the cause is gone (from then on the time to heal counts), with figures of its own.
Where it has still to look at something then, it says `load.fault_over()` first.

It is called under load, at a random moment. It takes everything random from the generator that it is given, gives
every wait a deadline, and raises AssertionError where the fault did not come about as meant. `load.short` asks for a
form that takes little time. What it leaves broken is mended after the run; a fault that is to be healed *in* the run it
mends itself.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. Rows of equal `shape` share a cluster, one run after the other, each with rooms of its own."""

    name: str
    """Short and unique, such as `gateway killed`."""
    fault: str
    """A phrase for the table: what was done."""
    inject: Inject
    shape: Shape = field(default_factory=Shape)
    load: LoadShape = field(default_factory=LoadShape)
    limits: Limits = field(default_factory=Limits)
    settle_s: float = 3.0
    """For how long the load goes on after the fault; a third in the short form."""
    catch_up_s: float = 20.0
    """How long readers and writers have after that."""
    own_network: bool = False
    """Packets get lost: it runs in a network namespace, see `network`."""
    caught_by: frozenset[str] = frozenset()
    """A mutant: the checker must find a breach in at least one of these fields of `Verdict`. Empty: none may be."""

    @property
    def is_mutant(self) -> bool:
        """Whether it is there to be caught."""
        return bool(self.caught_by)


def slug(name: str) -> str:
    """A row's name as a part of a file's name."""
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
