"""MongoDB's primary steps down or dies, its only node restarts, or it stops answering."""

import asyncio
import random
from contextlib import suppress

from faults.clients.checks import error_seconds, slowest_answer_s, writers_can_post
from faults.clients.load import Load
from faults.clients.sockets import ChatConnection, Event
from faults.judge.records import now
from faults.row import Figures, Row
from faults.system.cluster import FaultCluster, Shape
from gifchat_contracts import socket_events
from gifchat_testkit.proxy import BOTH, Direction

ELECTS_WITHIN_S = 20.0
WRITES_WITHIN_S = 20.0
RECEIVES_WITHIN_S = 5.0
TYPING_INTERVAL_S = 0.3

THREE_MONGODS = Shape(mongods=3, rooms_api=2)


async def written_again(load: Load, since: float) -> Figures:
    """Wait until all writers post again; return how long at least one could not."""
    await writers_can_post(load, WRITES_WITHIN_S)
    return {"seconds of errors": error_seconds(load, since), "slowest reply, s": slowest_answer_s(load, since)}


async def stepped_down(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """The primary becomes a secondary."""
    began = now()
    before = await asyncio.to_thread(cluster.mongods.step_down)
    load.fault_over()
    after = await asyncio.to_thread(cluster.mongods.wait_for_primary, ELECTS_WITHIN_S)
    assert after != before, "the primary is still the same"
    return {"new primary elected, s": now() - began, **await written_again(load, began)}


async def primary_killed(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """The primary is killed, and the writes that it did not replicate are lost."""
    before = await asyncio.to_thread(cluster.mongods.wait_for_primary, ELECTS_WITHIN_S)
    began = now()
    await cluster.mongods.processes[before].kill()
    load.fault_over()
    await asyncio.to_thread(cluster.mongods.wait_for_primary, ELECTS_WITHIN_S)
    figures = {"new primary elected, s": now() - began, **await written_again(load, began)}
    await cluster.mongods.processes[before].restart()
    return figures


async def restarted(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """The only node is killed or stopped; meanwhile members still receive each other's transient events."""
    mongod = cluster.mongods.processes[0]
    began = now()
    await (mongod.kill() if rng.random() < 0.5 else mongod.terminate())
    await typing_still_arrives(load, rng.uniform(0.0, 1.0 if load.short else 8.0))
    await mongod.start()
    await mongod.wait_until_ready()
    load.fault_over()
    return await written_again(load, began)


async def stalled(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Requests, answers or both are delayed; meanwhile members still receive each other's transient events."""
    lasts_s = 5.0 if load.short else 30.0
    directions: tuple[Direction, ...] = rng.choice([BOTH, ("up",), ("down",)])
    began = now()
    for node in cluster.rooms_api:
        node.mongo.stall(*directions)
    await typing_still_arrives(load, lasts_s)
    assert all(reader.joined.is_set() for reader in load.readers), "a reader lost the room"
    for node in cluster.rooms_api:
        await node.mongo.heal()
    load.fault_over()
    return await written_again(load, began)


async def typing_still_arrives(load: Load, seconds: float) -> None:
    """Check for `seconds`, and at least once, that typing events still reach another member."""
    senders = [reader for reader in load.readers if reader.room == load.rooms[0]]
    # The receiver is a member's second tab, so the user already has a seat.
    receiver = await ChatConnection.open(load.same_person(senders.pop().person))
    try:
        await receiver.emit(socket_events.JOIN, {"room": load.rooms[0]})
        ends_at = now() + seconds
        heard = False
        while now() < ends_at or not heard:
            sending = asyncio.create_task(_send_typing(load, [reader.name for reader in senders]))
            try:
                async with asyncio.timeout(RECEIVES_WITHIN_S):
                    while not _is_typing(await receiver.receive()):
                        continue
            except TimeoutError:
                raise AssertionError(f"no event received for {RECEIVES_WITHIN_S:g} s") from None
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
            heard = True
    finally:
        receiver.abort()


async def _send_typing(load: Load, names: list[str]) -> None:
    """Send typing events; the gateway passes on at most one per second."""
    while True:
        for reader in load.readers:
            if reader.name in names and reader.connection is not None and reader.joined.is_set():
                await reader.connection.emit(socket_events.TYPING, {"room": reader.room})
                await asyncio.sleep(TYPING_INTERVAL_S)


def _is_typing(packet: object) -> bool:
    return isinstance(packet, Event) and packet.name == socket_events.TYPING


ROWS: list[Row] = [
    Row(
        name="mongodb primary steps down",
        fault="`replSetStepDown` on a replica set of three, with two rooms-api processes",
        inject=stepped_down,
        shape=THREE_MONGODS,
    ),
    Row(
        name="mongodb primary killed",
        fault="SIGKILL to the primary of a replica set of three, with two rooms-api processes",
        inject=primary_killed,
        shape=THREE_MONGODS,
    ),
    Row(
        name="mongodb restarted",
        fault="the only node is killed or stopped, then restarted",
        inject=restarted,
    ),
    Row(
        name="mongodb stalls",
        fault="requests to MongoDB, its replies, or both are delayed for 30 s",
        inject=stalled,
    ),
]
