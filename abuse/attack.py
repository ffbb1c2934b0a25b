"""An attack: what one client does to hurt the others."""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Prepared = Mapping[str, Any]
"""JSON that `prepare` passes to `run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where an attack happens."""

    url: str
    """nginx's front door."""
    address: str
    """The attacker's own loopback address."""
    room: str
    """An open room in which normal users chat."""
    prepared: Prepared = field(default_factory=dict)
    findings: Counter[str] = field(default_factory=Counter)
    """What the attacker sees: how much it sends and receives, and how often it is refused or closed, by code."""

    @property
    def port(self) -> int:
        """The port of the front door."""
        port = urlsplit(self.url).port
        assert port is not None
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack. All attacks start on a new cluster."""

    name: str
    """Short and unique, for example `tiny events`."""
    what: str
    """A phrase for the page: what the attacker does."""
    run: Callable[[Stage], Awaitable[None]]
    """Attacks until cancelled. Refusals, closed connections and time-outs do not end an attack."""
    prepare: Callable[[Stage], Awaitable[Prepared]] | None = None
    """Creates what the attack needs, as ordinary users from other addresses could. Runs before anything is measured."""
    victims: Callable[[Stage], Awaitable[Counter[str]]] | None = None
    """Acts as the users at whom the attack aims, after it has run for a while. Returns how they were refused."""


def load_attacks() -> list[Attack]:
    """Return the `ATTACK` of every module in `abuse.attacks`, in the order of the modules' names.

    Raises:
        ValueError: two attacks have the same name.
    """
    package = importlib.import_module("abuse.attacks")
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    attacks: list[Attack] = [importlib.import_module(f"abuse.attacks.{name}").ATTACK for name in modules]
    names = [attack.name for attack in attacks]
    if len(names) != len(set(names)):
        raise ValueError(f"two attacks have the same name: {sorted(names)}")
    return attacks


def chosen(attacks: Sequence[Attack], names: Sequence[str]) -> list[Attack]:
    """Select the attacks whose name is, or contains, one of `names`. Without names, select all."""
    known = {attack.name for attack in attacks}
    return [
        attack
        for attack in attacks
        if not names or any(attack.name == part if part in known else part in attack.name for part in names)
    ]
