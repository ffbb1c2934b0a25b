"""The results: one line per attack in `results.jsonl`."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from abuse.attack import Attack
from abuse.run import Latency, Run

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"


@dataclass(frozen=True, slots=True)
class Result:
    """An attack's last run."""

    attack: str
    date: str
    commit: str
    """The commit that was attacked, with `-dirty` if the files differed from it."""
    run: Run


def result_of(attack: Attack, run: Run) -> Result:
    """Stamp a run with today's date and the commit."""
    return Result(attack.name, datetime.now(UTC).date().isoformat(), _commit(), run)


def read_results(path: Path = RESULTS) -> list[Result]:
    """Read all results; none if the file does not exist yet."""
    if not path.exists():
        return []
    return [_parse(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def update_results(path: Path, attacks: Sequence[Attack], new: Iterable[Result]) -> None:
    """Replace the lines of the attacks in `new`, and drop the lines of attacks that no longer exist."""
    by_name = {result.attack: result for result in [*read_results(path), *new]}
    lines = [json.dumps(_plain(by_name[attack.name])) for attack in attacks if attack.name in by_name]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _plain(result: Result) -> dict[str, Any]:
    rounded: dict[str, Any] = json.loads(json.dumps(asdict(result)), parse_float=lambda text: round(float(text), 2))
    return rounded


def _parse(plain: dict[str, Any]) -> Result:
    run: dict[str, Any] = plain.pop("run")
    quiet, attacked = Latency(**run.pop("quiet")), Latency(**run.pop("attacked"))
    return Result(**plain, run=Run(quiet=quiet, attacked=attacked, **run))


def _commit() -> str:
    """Return the short commit; empty outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()
