"""Measurements for rows: the services' metrics and logs, and the readers' delays."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

import httpx
from prometheus_client.parser import text_string_to_metric_families

from faults.clients.load import Load
from faults.clients.reader import Reader
from faults.judge import records
from faults.system.cluster import FaultCluster, Node
from gifchat_cli.ports import LOOPBACK

_POLL_INTERVAL_S = 0.02


async def total(nodes: Iterable[Node], name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels over the running nodes (counters are named `…_total`)."""
    summed = 0.0
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
        for node in nodes:
            if not node.process.alive:
                continue
            text = (await http.get(f"http://{LOOPBACK}:{node.port}/metrics")).text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == name and labels.items() <= sample.labels.items():
                        summed += sample.value
    return summed


async def log_reads(cluster: FaultCluster) -> float:
    """Return how often the gateways have read rooms' logs from rooms-api."""
    return await total(cluster.rooms_api, "http_requests_total", route="/internal/v1/rooms/{room_id}/log")


async def logged(node: Node, pattern: str, timeout_s: float) -> float:
    """Wait until a line of the log matches `pattern`; return how long that took, in seconds.

    Raises:
        AssertionError: no line matched within `timeout_s`.
    """
    started = time.monotonic()
    sought = re.compile(pattern)
    while not sought.search(await asyncio.to_thread(node.process.log_path.read_text, errors="replace")):
        assert time.monotonic() - started < timeout_s, f"{node.name} did not log {pattern} within {timeout_s:g} s"
        await asyncio.sleep(_POLL_INTERVAL_S)
    return time.monotonic() - started


async def replica_of(cluster: FaultCluster, room: str, timeout_s: float = 5.0) -> Node:
    """Return the rooms-api to which nginx routes a room's requests, according to its access log.

    Raises:
        AssertionError: the access log has no request for the room.
    """
    sought = re.compile(rf"/rooms/{room}\S* .* -> \S+:(\d+) ")
    deadline = time.monotonic() + timeout_s
    while True:
        ports = sought.findall(await asyncio.to_thread((cluster.folder / "nginx-access.log").read_text))
        if ports:
            return next(node for node in cluster.rooms_api if node.port == int(ports[-1]))
        assert time.monotonic() < deadline, f"nginx logged no request for room {room}"
        await asyncio.sleep(_POLL_INTERVAL_S)


def delays_s(load: Load, readers: Sequence[Reader], since: float, until: float) -> list[float]:
    """Return the seconds from each acknowledgement until each of `readers` shows the message.

    Only acknowledgements from `since` to `until` count. A message that is not shown yet counts until now.
    """
    acked: dict[tuple[str, str, int], float] = {}
    logs = records.read(load.folder)
    for log in logs.values():
        for record in log:
            if isinstance(record, records.Acked) and since <= record.t <= until:
                acked.setdefault((record.room, record.epoch, record.seq), record.t)
    delays = []
    for reader in readers:
        shown: dict[tuple[str, str, int], float] = defaultdict(records.now)
        for record in logs[reader.name]:
            if isinstance(record, records.Applied):
                shown[reader.room, record.epoch, record.seq] = record.t
        delays += [max(0.0, shown[place] - t) for place, t in acked.items() if place[0] == reader.room]
    return delays
