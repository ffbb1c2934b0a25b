"""Checks for rows during a fault: what still works, which codes refusals have, and how long errors last."""

import asyncio
from collections.abc import Sequence

import httpx

from faults.clients.load import Load
from faults.clients.reader import Reader
from faults.clients.writer import Writer
from faults.judge import records
from faults.judge.records import Record, now
from faults.system.cluster import Node
from gifchat_cli.ports import LOOPBACK
from gifchat_testkit.waiting import until

_POLL_INTERVAL_S = 0.02


async def deaf_after_s(gateway: Node, timeout_s: float) -> float:
    """Wait until the gateway reports that it is deaf; return how long that took.

    Raises:
        AssertionError: it did not happen within `timeout_s`.
    """
    began = now()
    status = ""
    async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{gateway.port}", timeout=1.0, trust_env=False) as http:
        while now() - began < timeout_s:
            try:
                status = str((await http.get("/health/ready")).json()["status"])
            except (httpx.HTTPError, ValueError):
                status = "no answer"
            if status == "deaf":
                return now() - began
            await asyncio.sleep(_POLL_INTERVAL_S)
    raise AssertionError(f"{gateway.name} is not deaf after {timeout_s:g} s: {status}")


async def writers_can_post(load: Load, timeout_s: float) -> None:
    """Wait until each writer has an acknowledgement of a message that it started after this call.

    Raises:
        AssertionError: it did not happen within `timeout_s`.
    """
    # The next acknowledgement may belong to a message that is already in flight.
    wanted = [(writer, writer.acknowledged + 2) for writer in load.writers]
    await until(
        lambda: all(writer.acknowledged >= least for writer, least in wanted),
        timeout_s,
        f"acknowledgements for {', '.join(writer.name for writer in load.writers)}",
    )


async def readers_still_receive(load: Load, readers: Sequence[Reader], timeout_s: float) -> None:
    """Wait until each of these readers shows a new message. Readers in rooms without a writer are skipped.

    Raises:
        AssertionError: it did not happen within `timeout_s`.
    """
    written = {writer.room for writer in load.writers}
    before = [(reader, reader.position) for reader in readers if reader.room in written]
    await until(
        lambda: all(reader.position is not None and reader.position != position for reader, position in before),
        timeout_s,
        f"a new message for {', '.join(reader.name for reader, _ in before)}",
    )


async def refused_with(load: Load, readers: Sequence[Reader], code: str, timeout_s: float) -> None:
    """Wait until each of these readers was refused with `code` at least once.

    Raises:
        AssertionError: it did not happen within `timeout_s`, or a reader was admitted first.
    """

    def was_refused(reader: Reader) -> bool:
        received = codes(load, reader)
        assert code in received or not reader.joined.is_set(), (
            f"{reader.name} was admitted after {received}, without {code}"
        )
        return code in received

    try:
        await until(lambda: all(map(was_refused, readers)), timeout_s, f"{code} for all", poll_interval_s=0.05)
    except AssertionError as error:
        received = "; ".join(f"{reader.name}: {codes(load, reader)}" for reader in readers)
        raise AssertionError(f"{error}; {received}") from error


def codes(load: Load, reader: Reader) -> list[str]:
    """Return the codes with which the reader was refused or evicted so far."""
    return [record.code for record in _records(load, reader) if isinstance(record, records.JoinRefused)]


def error_seconds(load: Load, since: float) -> float:
    """Return the seconds during which at least one writer was retrying a message, from its first attempt.

    Overlapping times count once. Only messages first sent after `since` and acknowledged by now count.
    """
    spans: list[tuple[float, float]] = []
    for writer in load.writers:
        begun: dict[str, float] = {}
        failed: set[str] = set()
        for record in _records(load, writer):
            match record:
                case records.Attempt(t=t, key=key, number=1):
                    begun[key] = t
                case records.NotAcked(key=key):
                    failed.add(key)
                case records.Acked(t=t, key=key) if key in failed and begun[key] >= since:
                    spans.append((begun[key], t))
                case _:
                    pass
    return _covered(spans)


def slowest_answer_s(load: Load, since: float) -> float:
    """Return the duration of the slowest attempt to post after `since`, whatever its answer; 0 without attempts."""
    slowest = 0.0
    for writer in load.writers:
        sent: float | None = None
        for record in _records(load, writer):
            match record:
                case records.Attempt(t=t):
                    sent = t if t >= since else None
                case records.NotAcked(t=t) | records.Acked(t=t) if sent is not None:
                    slowest = max(slowest, t - sent)
                case _:
                    pass
    return slowest


def _covered(spans: list[tuple[float, float]]) -> float:
    seconds, end = 0.0, 0.0
    for start, stop in sorted(spans):
        seconds += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return seconds


def _records(load: Load, client: Reader | Writer) -> list[Record]:
    text = (load.folder / f"{client.name}.jsonl").read_text(encoding="utf-8")
    return [records.decode(line) for line in text.splitlines()]


async def reconnected_elsewhere(readers: Sequence[Reader], left: Node, within_s: float) -> None:
    """Wait until all of these readers are in their rooms again, on other gateways.

    Raises:
        AssertionError: some were not in time.
    """
    await until(
        lambda: all(reader.joined.is_set() and reader.gateway != left.name for reader in readers),
        within_s,
        f"{len(readers)} clients of {left.name} to be back elsewhere",
    )
