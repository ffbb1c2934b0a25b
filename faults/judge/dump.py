"""The database as it was left: what the checker holds the records against."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry of a room's log in the database."""

    room: str
    epoch: str
    """Of its room."""
    seq: int
    user: str
    key: str
    chat: bool
    """A message; not a deletion or a notice."""


@dataclass(frozen=True, slots=True)
class Dump:
    """The database at the end, of the rooms of this run."""

    entries: Sequence[Stored]

    def write(self, path: Path) -> None:
        """As JSON lines."""
        path.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in self.entries), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote."""
        return cls([Stored(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()])
