"""The fault cluster and its clients: faults can be injected and healed, and no process is left behind."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest
from faults.clients.links import ConnectionLostError
from faults.clients.load import Load, LoadShape
from faults.clients.person import Person
from faults.clients.reader import Reader
from faults.clients.sockets import ChatConnection, Transport
from faults.clients.writer import Writer
from faults.judge import records
from faults.system import mongod_set
from faults.system.cluster import FaultCluster, Shape

from gifchat_testkit.processes import lasting_port
from gifchat_testkit.waiting import reconnect_delay_s, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.fixture
async def load(tmp_path: Path) -> AsyncIterator[Load]:
    """A room with one reader for each transport and no writers."""
    records_folder = tmp_path / "records"
    records_folder.mkdir()
    async with FaultCluster(Shape(gateway_env={"PING_INTERVAL": "2"})) as cluster:
        shape = LoadShape(rooms=1, readers=3, writers=0, transports=("websocket", "polling", "upgrade"))
        load = Load(cluster, shape, records_folder, random.Random(1), short=True)
        await load.begin()
        yield load
        await load.end()


Kind = TypeVar("Kind")


def records_of(load: Load, reader: Reader, kind: type[Kind]) -> list[Kind]:
    log = records.read(load.folder)[reader.name]
    return [record for record in log if isinstance(record, kind)]


async def wait_until_caught_up(load: Load, writer: Writer) -> None:
    await until(
        lambda: all(r.position and r.position.seq >= writer.acknowledged for r in load.staying()), 10.0, "the readers"
    )


async def test_clients_on_all_transports_can_pause_refresh_leave_and_vanish(load: Load) -> None:
    cluster, (first, second, third) = load.cluster, load.readers
    names = {gateway.name for gateway in cluster.gateways}
    assert {reader.gateway for reader in load.readers} <= names, "the affinity cookie names the gateway"
    assert sum(len(load.readers_on(gateway)) for gateway in cluster.gateways) == 3
    writer = load.add_writer(first, per_s=50.0)
    await until(lambda: writer.acknowledged > 5, 10.0, "some messages")

    # A paused reader continues where it stopped.
    assert first.connection is not None
    first.connection.pause_reading()
    at = writer.acknowledged
    await until(lambda: writer.acknowledged > at + 10, 10.0, "more messages")
    assert first.position is not None
    assert first.position.seq < writer.acknowledged
    first.connection.resume_reading()

    second.refresh()
    third.go_offline()
    await until(lambda: not third.joined.is_set(), 5.0, "the third reader to be away")
    at = writer.acknowledged
    await until(lambda: writer.acknowledged > at + 10, 10.0, "more messages")
    third.come_online()
    await load.all_joined()
    await writer.finish(10.0)
    await wait_until_caught_up(load, writer)
    for reader in load.readers:
        applied = [record.seq for record in records_of(load, reader, records.Applied)]
        assert applied == list(range(1, writer.acknowledged + 1))
    joins = records_of(load, third, records.Joined)
    assert [join.recovered for join in joins] == [False, True]
    assert joins[1].items > 10

    await second.leave()
    await third.vanish()
    assert [record.how for record in records_of(load, third, records.Stopped)] == ["vanished"]
    with pytest.raises(AssertionError, match="not within"):
        await until(lambda: load.watchers[0].members == 1, 0.3, "no seat to be freed during the grace period")


async def test_killed_and_paused_processes_heal_on_their_ports(load: Load) -> None:
    cluster = load.cluster
    ports = [gateway.port for gateway in cluster.gateways]
    pids = [process.pid for process in cluster.processes]
    await cluster.gateways[0].process.kill()
    assert not cluster.gateways[0].process.alive
    cluster.gateways[1].process.pause()
    await cluster.gateways[1].redis.refuse()
    cluster.rooms_api[0].mongo.stall()
    await cluster.valkey.kill()
    with pytest.raises(ConnectionLostError):
        await ChatConnection.open(load.person("nobody"))
    await cluster.heal()
    assert [gateway.port for gateway in cluster.gateways] == ports
    assert sum(process.pid not in pids for process in cluster.processes) == 2
    await load.all_joined()
    mongod_set.ping(cluster.mongods.members[0].port)
    workers = cluster.nginx_workers()
    await cluster.reload_nginx()
    assert len(cluster.nginx_workers() - workers) == len(workers) == 2
    assert await cluster.gateways[0].process.terminate() == 0
    assert "gateway-1" in cluster.log_tails()


async def test_a_client_gives_up_a_silent_server() -> None:
    transports: list[Transport] = ["websocket", "polling"]
    shape = Shape(gateways=1, gateway_env={"PING_INTERVAL": "1", "PING_TIMEOUT": "1"})
    async with FaultCluster(shape) as cluster:
        person = Person(cluster.url, cluster.secret, "listener")
        connections = [await ChatConnection.open(person, transport) for transport in transports]
        cluster.gateways[0].process.pause()
        for connection in connections:
            with pytest.raises(ConnectionLostError, match="silent"):
                await receive_until_closed(connection)
            connection.abort()
        await person.aclose()


async def test_three_mongods_elect_a_new_primary() -> None:
    async with FaultCluster(Shape(gateways=1, mongods=3)) as cluster:
        before = await asyncio.to_thread(cluster.mongods.wait_for_primary, 10.0)
        await cluster.mongods.processes[before].kill()
        after = await asyncio.to_thread(cluster.mongods.wait_for_primary, 30.0)
        assert after != before
        await cluster.heal()
        await asyncio.to_thread(cluster.mongods.step_down)
        assert await asyncio.to_thread(cluster.mongods.wait_for_primary, 30.0) != after


async def receive_until_closed(connection: ChatConnection) -> None:
    async with asyncio.timeout(10.0):
        while True:
            await connection.receive()


ROOT = Path(__file__).parents[3]
PARENT = """
import asyncio
from faults.system.cluster import FaultCluster, Shape

async def main():
    async with FaultCluster(Shape(gateways=1)) as cluster:
        cluster.gateways[0].process.pause()
        workers = cluster.nginx_workers()
        print(*[process.pid for process in cluster.processes], *workers, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_no_process_outlives_a_killed_test() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        line = await asyncio.to_thread(parent.stdout.readline)
        pids = [int(pid) for pid in line.split()]
        assert len(pids) >= 7
        assert all(map(is_running, pids))
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    await until(lambda: not any(map(is_running, pids)), 10.0, "all children to end, also the stopped one")


def test_ports_are_outside_the_range_of_outgoing_connections() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(lasting_port([]) < low for _ in range(20))


def test_reconnect_delays_grow_and_are_random() -> None:
    rng = random.Random(1)
    assert all(0.15 <= reconnect_delay_s(1, rng) <= 0.85 for _ in range(100))
    assert all(1.5 <= reconnect_delay_s(9, rng) <= 8.5 for _ in range(100))
