"""Writes the page `docs/abuse.md` from the results of all attacks."""

from collections.abc import Mapping, Sequence

from abuse.attack import Attack
from abuse.quarter_core import SHARE
from abuse.results import Result
from abuse.run import FLOOR_MS, PAIRS_PER_GATEWAY

_HEAD = f"""\
# Abuse

What one client did to hurt the others, and how much of it they noticed. `make abuse` generates this page from
`abuse/results.jsonl`; do not edit it.

Every attack runs on a new embedded cluster of three gateways and two replicas of rooms-api. Everybody connects through
nginx.

- The **attacker** has a loopback address of its own, and {SHARE:g} of a core: we stop its process whenever it has used
  more. A cgroup would do the same, but needs rights that test machines rarely give.
- **Normal pairs** chat meanwhile, {PAIRS_PER_GATEWAY} on every gateway, each user from another address. We measure
  their send→ack before the attack and during it. A message's latency counts from the moment when it was due.
- Every second, a **newcomer** from another address gets a session, lists rooms, creates one, joins one, reads its
  history, posts and uploads a picture.

**The bar**: the pairs' p99 during the attack is at most twice the quiet one, or {FLOOR_MS:g} ms, whichever is larger.
Only the attacker is refused or disconnected, every acknowledged message is delivered, and all gateways stay ready.

| attack | quiet p50 / p99, ms | attacked p50 / p99, ms | samples | within the bar | what the attacker got |
| --- | --- | --- | --- | --- | --- |
"""


def page(attacks: Sequence[Attack], results: Sequence[Result]) -> str:
    """Return the text of `docs/abuse.md`, in the order of `attacks`; attacks without results say so."""
    by_name = {result.attack: result for result in results}
    return _HEAD + "".join(f"{_line(attack, by_name.get(attack.name))}\n" for attack in attacks)


def _line(attack: Attack, result: Result | None) -> str:
    what = f"**{attack.name}**: {attack.what}"
    if result is None:
        return f"| {what} | – | – | 0 | – | |"
    run = result.run
    cells = [
        what,
        f"{run.quiet.p50_ms:.1f} / {run.quiet.p99_ms:.1f}",
        f"{run.attacked.p50_ms:.1f} / {run.attacked.p99_ms:.1f}",
        f"{run.quiet.samples:,} + {run.attacked.samples:,}",
        f"**no**: {'; '.join(run.breaches)}" if run.breaches else "yes",
        f"in {run.seconds:.0f} s: {_findings(run.findings)}",
    ]
    return "| " + " | ".join(cells) + " |"


def _findings(findings: Mapping[str, int]) -> str:
    return ", ".join(_finding(name, count) for name, count in sorted(findings.items())) or "nothing"


def _finding(name: str, count: int) -> str:
    if name.startswith("bytes "):
        return f"{count / 1e6:,.2f} MB {name.removeprefix('bytes ')}"
    return f"{name} {count:,}"
