"""`python -m benchmarks`: run all benchmarks, or some of them, and write the report."""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from benchmarks.harness import machine, report
from benchmarks.harness.load import RunFailedError
from benchmarks.harness.rounds import Options, Result

CASES = {
    "room-1000": "room_1000",
    "room-5000": "room_5000",
    "rooms-of-5": "rooms_of_5",
    "hot-room": "hot_room",
    "latency": "latency",
    "memory": "memory",
    "joins-and-disconnects": "joins_and_disconnects",
    "not-hosted": "not_hosted",
    "relay": "relay",
    "post-to-delivery": "post_to_delivery",
    "message": "message",
    "visitor": "visitor",
    "group-commit": "group_commit",
    "growth-members": "growth_of_members",
    "growth-rooms": "growth_of_rooms",
    "growth-gateways": "growth_of_gateways",
}


def main() -> int:
    """Run the benchmarks; return 1 if a bar is missed or a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES, help="run only this benchmark; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, to check that the benchmarks work")
    parser.add_argument(
        "--against",
        action="append",
        type=Path,
        default=[],
        metavar="CHECKOUT",
        help="also measure the gateway of another checkout, to compare before and after; results are not saved",
    )
    parser.add_argument("--report", action="store_true", help="only write README.md and the plots from results/")
    arguments = parser.parse_args()
    if arguments.report:
        report.write(machine.BENCHMARKS, list(CASES))
        return 0
    options = Options(1 if arguments.quick else arguments.rounds, arguments.quick, tuple(arguments.against))
    machine.raise_file_limit()
    # results/ holds full runs of this tree only.
    save = not options.quick and not options.checkouts
    folder = machine.BENCHMARKS if save else machine.BUILD / "not_saved"
    (folder / "results").mkdir(parents=True, exist_ok=True)
    verdicts = []
    for case in arguments.case or CASES:
        try:
            result, record = _measure(case, options)
        except RunFailedError as failure:
            _say(f"  FAILED  {failure}")
            verdicts.append(f"FAILED   {case}")
            continue
        (folder / "results" / f"{case}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        for bar in result.bars:
            sign = "≤" if bar.at_most else "≥"
            verdict = "met    " if bar.met else "NOT MET"
            verdicts.append(f"{verdict}  {case}: {bar.text}: {bar.value:.3g} ({sign} {bar.limit:.3g})")
            _say(f"  {verdicts[-1]}")
    report.write(folder, list(CASES))
    _say("\n" + "\n".join(verdicts))
    return 0 if all(verdict.startswith("met") for verdict in verdicts) else 1


def _measure(case: str, options: Options) -> tuple[Result, dict[str, object]]:
    module = importlib.import_module(f"benchmarks.{CASES[case]}")
    _say(f"{module.TITLE} ({case})")
    load_average = machine.load_average()
    began = time.monotonic()
    result: Result = module.run(options, _say)
    seconds = time.monotonic() - began
    _say(f"  {seconds:.0f} s")
    return result, {**result.as_json(options, seconds), "load_average": load_average}


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
