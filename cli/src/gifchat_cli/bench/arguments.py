"""The arguments of `gifchat bench`."""

import argparse

from gifchat_cli.bench.generator import MAX_CLIENTS

USER_MESSAGES_PER_S = 20
"""The highest sustained rate at which rooms-api accepts messages from one user; the bench has one writer."""
DEFAULT_URL = "http://localhost:8080"
DEFAULT_STEP, DEFAULT_MAX, DEFAULT_RATE, DEFAULT_P99_MS, DEFAULT_HOLD_S = 500, 10_000, 10.0, 250.0, 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all arguments except the data folder."""
    parser.add_argument(
        "--url", help=f"address of the cluster (default: the one that uses the data folder, or {DEFAULT_URL})"
    )
    parser.add_argument(
        "--room-size", type=_count, metavar="N", help="viewers in each room (default: all viewers in one room)"
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=DEFAULT_RATE,
        metavar="MSG/S",
        help=f"messages per second of the only writer, at most {USER_MESSAGES_PER_S} (default: {DEFAULT_RATE:g})",
    )
    parser.add_argument(
        "--p99",
        type=_positive,
        default=DEFAULT_P99_MS,
        metavar="MS",
        help=f"latency limit (default: {DEFAULT_P99_MS:g})",
    )
    parser.add_argument(
        "--step",
        type=_count,
        default=DEFAULT_STEP,
        metavar="N",
        help=f"viewers added per step (default: {DEFAULT_STEP})",
    )
    parser.add_argument(
        "--max",
        type=_count,
        default=DEFAULT_MAX,
        metavar="N",
        help=f"maximum number of viewers (default: {DEFAULT_MAX})",
    )
    parser.add_argument(
        "--hold",
        type=_positive,
        default=DEFAULT_HOLD_S,
        metavar="S",
        help=f"seconds per step (default: {DEFAULT_HOLD_S:g})",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_CLIENTS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_CLIENTS}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3_600_000:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def _rate(text: str) -> float:
    rate = _positive(text)
    if rate > USER_MESSAGES_PER_S:
        raise argparse.ArgumentTypeError(f"one user may post at most {USER_MESSAGES_PER_S} messages a second")
    return rate
