"""`python -m abuse`: attack the embedded cluster and write `docs/abuse.md`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from abuse.attack import Attack, chosen, load_attacks
from abuse.report import page
from abuse.results import RESULTS, read_results, result_of, update_results
from abuse.run import Run, run_attack
from gifchat_testkit.cluster import running_cluster

PAGE = RESULTS.parents[1] / "docs/abuse.md"
_SAMPLES = 1_000
_QUICK_SAMPLES = 200


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(prog="python -m abuse", description=__doc__)
    parser.add_argument(
        "--attack",
        action="append",
        default=[],
        metavar="NAME",
        help="name or part of it; may be repeated; default: all",
    )
    parser.add_argument("--quick", action="store_true", help=f"take {_QUICK_SAMPLES} samples only, and save nothing")
    parser.add_argument("--samples", type=int, default=_SAMPLES, help="least number of samples of each figure")
    parser.add_argument("--list", action="store_true", help="list the attacks, run nothing")
    parser.add_argument("--report", action="store_true", help="write the page from the results, run nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if all attacks that ran were within the bar."""
    options = parser().parse_args(arguments)
    everything = load_attacks()
    attacks = chosen(everything, options.attack)
    if options.list:
        for attack in attacks:
            _say(f"{attack.name:<24} {attack.what}")
        return 0
    within = True
    for attack in [] if options.report else attacks:
        with running_cluster() as cluster:
            run = asyncio.run(run_attack(attack, cluster, _QUICK_SAMPLES if options.quick else options.samples))
        within &= not run.breaches
        _say(_sentence(attack, run))
        if not options.quick:
            update_results(RESULTS, everything, [result_of(attack, run)])
    if not options.quick:
        PAGE.write_text(page(everything, read_results()), encoding="utf-8")
    return int(not within)


def _sentence(attack: Attack, run: Run) -> str:
    verdict = f"BREACHED: {'; '.join(run.breaches)}" if run.breaches else "within the bar"
    return (
        f"{attack.name}: {verdict}\n"
        f"   p50 / p99: quiet {run.quiet.p50_ms:.1f} / {run.quiet.p99_ms:.1f} ms, "
        f"attacked {run.attacked.p50_ms:.1f} / {run.attacked.p99_ms:.1f} ms "
        f"({run.quiet.samples} + {run.attacked.samples} samples)\n"
        f"   the attacker, in {run.seconds:.0f} s with {run.attacker_cpu:.2f} of a core: {dict(run.findings)}\n"
        f"   {run.newcomers} newcomers, the slowest took {run.newcomers_slowest_s:.1f} s"
    )


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
