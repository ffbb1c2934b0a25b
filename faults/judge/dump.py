"""The database at the end of a run, with which the checker compares the records."""

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
    """The epoch of its room."""
    seq: int
    user: str
    key: str
    chat: bool
    """Whether it is a message; deletions and notices are not."""


@dataclass(frozen=True, slots=True)
class Dump:
    """The entries of this run's rooms."""

    entries: Sequence[Stored]

    def write(self, path: Path) -> None:
        """Write JSON lines."""
        path.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in self.entries), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        return cls([Stored(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()])
