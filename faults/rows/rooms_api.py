"""rooms-api dies before its reply, replies are cut, and the same message arrives many times at once."""

import asyncio
import random
import signal
from typing import Any

from bson import ObjectId

from faults.clients.load import Load
from faults.clients.measuring import replica_of
from faults.clients.posting import Poster
from faults.clients.reader import Reader
from faults.judge.checker import Limits
from faults.judge.records import now
from faults.row import Figures, Inject, Row
from faults.system.cluster import DATABASE, FaultCluster, Shape
from faults.system.failing_rooms_api import MODULE, Point, die_at
from gifchat_cli.ports import LOOPBACK
from gifchat_testkit import affinity
from gifchat_testkit.proxy import Direction, TcpProxy
from gifchat_testkit.waiting import until

DIES_WITHIN_S = 5.0
TAIL_WITHIN_S = 6.0
"""The other replica takes over announcing heads within 3 s: the lease takes 2 s, and it tries once a second."""
REPLICAS = Shape(gateways=2, rooms_api=2, rooms_api_module=MODULE)
AT_ONCE = 100
CUTS = 12


async def quiet_room(cluster: FaultCluster, load: Load) -> list[Reader]:
    """Create a room without writers, with a reader on each gateway."""
    room = await load.add_room()
    readers = []
    for gateway in cluster.gateways:
        person = load.person(f"quiet-{gateway.name}")
        person.cookies[affinity.COOKIE] = gateway.tag
        readers.append(load.add_reader(room, person=person))
    await load.all_joined(readers=readers)
    return readers


async def all_show(readers: list[Reader], seq: int, timeout_s: float) -> float:
    """Wait until all readers show the entry `seq`; return how long that took, in seconds."""
    began = now()
    await until(
        lambda: all(reader.position is not None and reader.position.seq >= seq for reader in readers),
        timeout_s,
        f"{seq} for all readers",
    )
    return now() - began


async def stored(cluster: FaultCluster, room: str, key: str) -> list[int]:
    """Return the seqs at which the database has this message."""

    def find() -> list[int]:
        with cluster.database() as client:
            found = client[DATABASE]["messages"].find({"room": ObjectId(room), "client_message_id": key})
            return [entry["seq"] for entry in found]

    return await asyncio.to_thread(find)


async def history_agrees(reader: Reader, reply: dict[str, Any]) -> None:
    """Check that history and the reply agree."""
    items = await reader.person.history(reader.room, reply["seq"] - 1, reader.membership)
    assert items[:1] == [{"event": "chat", "data": reply}], f"{items[:1]} is not {reply}"


def died(point: Point) -> Inject:
    async def inject(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
        """Post the last message of a quiet room, let the replica die, and retry the message."""
        readers = await quiet_room(cluster, load)
        with Poster(load, readers[0], "poster") as poster:
            first = await poster.until_acked("first", "before")
            await all_show(readers, first["seq"], TAIL_WITHIN_S)
            victim = await replica_of(cluster, poster.room)
            await die_at(victim, point, poster.room)
            posting = asyncio.create_task(poster.once("tail", "the reply never comes"))
            code = await victim.process.ended(DIES_WITHIN_S)
            assert code == -signal.SIGKILL, f"{victim.name} exited with {code}"
            load.fault_over()
            reply = await posting
            assert reply is None, f"a reply after the kill: {reply}"

            figures = {}
            seqs = await stored(cluster, poster.room, "tail")
            assert len(seqs) == (point != "before insert"), f"died {point}, stored at {seqs}"
            if seqs:
                # No client retries or posts, so only a repair can deliver the message.
                figures["last message shown, s"] = await all_show(readers, seqs[0], TAIL_WITHIN_S)
            reply = await poster.until_acked("tail", "the reply never comes")
            again = await poster.until_acked("tail", "the reply never comes")
            assert reply == again, f"{again} is not {reply}"
            assert seqs in ([], [reply["seq"]]), f"stored at {seqs}, acknowledged at {reply['seq']}"
            await all_show(readers, reply["seq"], TAIL_WITHIN_S)
            await history_agrees(readers[1], reply)
        return figures

    return inject


async def posted_at_once(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Post the same message many times: half through nginx, the rest directly to the replicas."""
    reader = rng.choice(load.readers)
    direct = [load.same_person(reader.person, f"http://{LOOPBACK}:{node.port}") for node in cluster.rooms_api]
    ways = [reader.person, *direct]
    with Poster(load, reader, "poster") as poster:
        began = now()
        replies = await asyncio.gather(
            *(
                poster.once("same", "all at once", person=ways[0] if number % 2 else rng.choice(direct))
                for number in range(AT_ONCE)
            )
        )
        took_s = now() - began
        assert all(replies), f"{replies.count(None)} of {AT_ONCE} were refused"
        assert all(reply == replies[0] for reply in replies), "the replies differ"
        await history_agrees(reader, replies[0] or {})
    return {"answered, s": took_s}


async def reply_cut(cluster: FaultCluster, load: Load, rng: random.Random) -> Figures:
    """Cut the connection somewhere in the request or the reply."""
    reader = rng.choice(load.readers)
    lost = kept = 0
    with Poster(load, reader, "poster") as poster:
        for number in range(CUTS // 3 if load.short else CUTS):
            direction: Direction = rng.choice(("up", "down", "down"))
            async with TcpProxy(int(cluster.url.rpartition(":")[2])) as proxy:
                person = load.same_person(reader.person, f"http://{LOOPBACK}:{proxy.port}")
                proxy.drop_after(rng.randint(1, 900), direction)
                reply = await poster.once(f"cut-{number}", "cut", person=person)
            lost += reply is None
            kept += reply is None and bool(await stored(cluster, poster.room, f"cut-{number}"))
            final = await poster.until_acked(f"cut-{number}", "cut")
            assert reply in (None, final), f"{final} is not {reply}"
            await history_agrees(reader, final)
    assert lost, "no reply was cut"
    return {"lost replies": lost, "messages stored despite a lost reply": kept}


ROWS = [
    *(
        Row(
            name=f"rooms-api killed {point}",
            fault=f"one of two replicas kills itself with a room's last message in flight, {point}",
            inject=died(point),
            shape=REPLICAS,
            limits=Limits(heal_s=TAIL_WITHIN_S),
        )
        for point in ("before insert", "after insert", "after publish", "before reply")
    ),
    Row(
        name="posted 100 times",
        fault="the same message is posted a hundred times at once, to both replicas",
        inject=posted_at_once,
        shape=REPLICAS,
    ),
    Row(
        name="reply cut",
        fault="the connection is cut in the middle of a request or its reply",
        inject=reply_cut,
        shape=REPLICAS,
    ),
]
