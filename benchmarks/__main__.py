"""`python -m benchmarks`: run all questions, or one of them, and write the report."""

import argparse
import importlib
import json
import sys
import time

from benchmarks.harness import machine
from benchmarks.harness.rounds import Options

CASES = {
    "room-1000": "room_1000",
    "room-5000": "room_5000",
    "rooms-of-5": "rooms_of_5",
    "hot-room": "hot_room",
    "latency": "latency",
    "memory": "memory",
    "coming-and-going": "coming_and_going",
    "not-hosted": "not_hosted",
}


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round: whether it runs, not how fast")
    arguments = parser.parse_args()
    options = Options(1 if arguments.quick else arguments.rounds, arguments.quick)
    machine.raise_file_limit()
    # A quick run says nothing that should be kept.
    results = machine.BUILD / "quick" if options.quick else machine.BENCHMARKS / "results"
    results.mkdir(parents=True, exist_ok=True)
    failed = False
    for case in arguments.case or CASES:
        module = importlib.import_module(f"benchmarks.{CASES[case]}")
        print(module.TITLE, flush=True)
        began = time.monotonic()
        result = module.run(options, lambda line: print(line, flush=True))
        text = json.dumps(result.as_json(options, time.monotonic() - began), indent=1, ensure_ascii=False)
        (results / f"{case}.json").write_text(text + "\n")
        for bar in result.bars:
            failed = failed or not bar.met
            print(f"  {'met    ' if bar.met else 'NOT MET'}  {bar.text}: {bar.value:.3g} (limit {bar.limit:.3g})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
