"""The load of a run: rooms, readers, writers and watchers, which connect through nginx and record what they see."""

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.clients.person import Person
from faults.clients.reader import Reader
from faults.clients.sockets import Transport
from faults.clients.writer import Watcher, Writer
from faults.judge import records
from faults.judge.dump import Dump, Stored
from faults.judge.records import Recorder, now
from faults.system.cluster import DATABASE, FaultCluster, Node
from gifchat_contracts.codec import Kind
from gifchat_testkit.waiting import until

BEGIN_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadShape:
    """The size of a load."""

    rooms: int = 2
    readers: int = 6
    """Readers in total; they are spread over the rooms."""
    writers: int = 3
    """Writers in total; each uses the session of a reader."""
    per_s: float = 30.0
    """Messages per second of all writers together."""
    max_members: int = 12
    """Seats per room."""
    transports: Sequence[Transport] = ("websocket", "websocket", "polling", "websocket", "upgrade")
    """The readers' transports, in turn."""


class Load:
    """The clients that run during a fault. All randomness comes from `rng`."""

    def __init__(
        self, cluster: FaultCluster, shape: LoadShape, folder: Path, rng: random.Random, *, short: bool
    ) -> None:
        """`folder` receives the records. `short` asks the row for its short form."""
        self.cluster = cluster
        self.shape = shape
        self.rng = rng
        self.short = short
        self.rooms: list[str] = []
        self.readers: list[Reader] = []
        self.writers: list[Writer] = []
        self.watchers: list[Watcher] = []
        self.folder = folder
        """The folder of the records."""
        self._run = Recorder(folder / "run.jsonl")
        self._people: list[Person] = []
        self._owner = self.person("owner")
        self._over = False

    # ------------------------------------------------------------------------------------------------ for rows
    def person(self, label: str, url: str | None = None) -> Person:
        """Create a new user. `url`: the address of a proxy in front of nginx."""
        session_id = f"{label}-{self.rng.getrandbits(96):024x}"
        person = Person(url or self.cluster.url, self.cluster.secret, session_id)
        self._people.append(person)
        return person

    def same_person(self, person: Person, url: str | None = None) -> Person:
        """Create new cookies and connections for the same user, like another browser."""
        other = Person(url or self.cluster.url, self.cluster.secret, person.session_id)
        self._people.append(other)
        return other

    def owner(self) -> Person:
        """Return the owner of all rooms, with new cookies and connections."""
        return self.same_person(self._owner)

    def add_reader(
        self, room: str, *, person: Person | None = None, transport: Transport = "websocket", begin: bool = True
    ) -> Reader:
        """Add a reader. It joins in the background: wait for `reader.joined` if that matters."""
        name = f"reader-{len(self.readers) + 1}"
        reader = Reader(
            name,
            person or self.person(name),
            room,
            self.recorder(name),
            self._random(),
            transport=transport,
            gateway_of=self.cluster.gateway_of,
        )
        self.readers.append(reader)
        if begin:
            reader.begin()
        return reader

    def add_writer(self, reader: Reader, per_s: float, *, person: Person | None = None, begin: bool = True) -> Writer:
        """Add a writer with the membership of `reader`, and with its session unless `person` is given."""
        name = f"writer-{len(self.writers) + 1}"
        writer = Writer(
            name,
            person or reader.person,
            reader.room,
            lambda: reader.membership,
            recorder=self.recorder(name),
            rng=self._random(),
            per_s=per_s,
        )
        self.writers.append(writer)
        if begin:
            writer.begin()
        return writer

    async def add_room(self, max_members: int | None = None) -> str:
        """Add a room and a watcher of it; return the room's id."""
        most = max_members or self.shape.max_members
        answer = await self._owner.http.post("/api/v1/rooms", json={"title": "faults", "max": most})
        answer.raise_for_status()
        room: str = answer.json()["_id"]
        self.rooms.append(room)
        self.record(records.RoomMade(t=now(), room=room, max=most, owner=self._owner.who.user_id))
        watcher = Watcher(self._owner, room, self.recorder(f"watcher-{len(self.watchers) + 1}"))
        self.watchers.append(watcher)
        watcher.begin()
        return room

    def readers_on(self, gateway: Node) -> list[Reader]:
        """Return the readers that are connected to this gateway, according to their affinity cookies."""
        return [reader for reader in self.staying() if reader.joined.is_set() and reader.gateway == gateway.name]

    def staying(self) -> list[Reader]:
        """Return the readers that have not stopped."""
        return [reader for reader in self.readers if reader.stopped is None]

    async def all_joined(self, timeout_s: float = BEGIN_TIMEOUT_S, readers: Collection[Reader] | None = None) -> None:
        """Wait until all staying readers (or these) are in their rooms.

        Raises:
            AssertionError: some did not join within `timeout_s`.
        """
        waiting = list(readers) if readers is not None else self.staying()
        await until(
            lambda: all(reader.joined.is_set() for reader in waiting),
            timeout_s,
            f"all to join; missing: {', '.join(reader.name for reader in waiting if not reader.joined.is_set())}",
        )

    def recorder(self, name: str) -> Recorder:
        """Open the record file of another client."""
        return Recorder(self.folder / f"{name}.jsonl")

    def fault_over(self) -> None:
        """Record that the cause is gone; the time to heal counts from here. A row calls this before it checks more."""
        if not self._over:
            self._over = True
            self.record(records.FaultEnded(t=now()))

    def record(self, record: records.Record) -> None:
        """Write a record of the run itself."""
        self._run.write(record)

    # ------------------------------------------------------------------------------------------------ for `run_fault`
    async def begin(self) -> None:
        """Create rooms, let all readers join, start the writers, and wait until each has an acknowledgement."""
        self._record_resources("before")
        for _ in range(self.shape.rooms):
            await self.add_room()
        transports = self.shape.transports
        for number in range(self.shape.readers):
            self.add_reader(self.rooms[number % len(self.rooms)], transport=transports[number % len(transports)])
        await self.all_joined()
        per_s = self.shape.per_s / max(1, self.shape.writers)
        for number in range(self.shape.writers):
            self.add_writer(self.readers[number], per_s)
        await until(
            lambda: all(writer.acknowledged for writer in self.writers), BEGIN_TIMEOUT_S, "each writer's first message"
        )

    async def finish_writing(self, timeout_s: float) -> None:
        """Stop posting, and wait until every message is acknowledged, or given up after `timeout_s`."""
        await asyncio.gather(*(writer.finish(timeout_s) for writer in self.writers))

    async def catch_up(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` until all staying readers that joined a room have all of its entries.

        The checker reports entries that are still missing.
        """
        heads = await asyncio.to_thread(self._heads)

        def done(reader: Reader) -> bool:
            at = reader.position
            return reader.membership is None or (
                at is not None and at.seq >= heads.get(reader.room, 0) and reader.settled
            )

        try:
            await until(lambda: all(map(done, self.staying())), timeout_s, "the heads")
        except AssertionError:
            return

    async def ghosts_gone(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` until no room has more members than staying users."""

        def gone(watcher: Watcher) -> bool:
            users = {reader.person.who.user_id for reader in self.staying() if reader.room == watcher.room}
            return watcher.members is not None and watcher.members <= len(users)

        if not any(reader.stopped for reader in self.readers):
            return
        try:
            await until(lambda: all(map(gone, self.watchers)), timeout_s, "ghosts to go", poll_interval_s=0.05)
        except AssertionError:
            return

    async def end(self) -> None:
        """Stop all clients, and record the resources that the processes use."""
        await asyncio.gather(*(watcher.finish() for watcher in self.watchers))
        await asyncio.gather(*(writer.finish(0.0) for writer in self.writers))
        await asyncio.gather(*(reader.finish() for reader in self.readers))
        await asyncio.gather(*(person.aclose() for person in self._people))
        await self._settle_files()
        self._record_resources("after")
        self._run.close()

    def dump(self) -> Dump:
        """Read this run's rooms from MongoDB. Blocks."""
        with self.cluster.database() as client:
            database = client[DATABASE]
            epochs = {str(room["_id"]): str(room["epoch"]) for room in database["rooms"].find({}, {"epoch": 1})}
            entries = [
                Stored(
                    room=str(entry["room"]),
                    epoch=epochs.get(str(entry["room"]), ""),
                    seq=int(entry["seq"]),
                    user=str(entry["user_id"]),
                    key=str(entry["client_message_id"]),
                    chat=entry["kind"] == int(Kind.CHAT),
                )
                for entry in database["messages"].find().sort([("room", 1), ("seq", 1)])
            ]
        return Dump([entry for entry in entries if entry.room in self.rooms])

    def _heads(self) -> dict[str, int]:
        heads: dict[str, int] = {}
        for entry in self.dump().entries:
            heads[entry.room] = max(entry.seq, heads.get(entry.room, 0))
        return heads

    def _random(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))  # noqa: S311 - a load, not a secret

    def _services(self) -> list[Node]:
        return [*self.cluster.rooms_api, *self.cluster.gateways]

    def _record_resources(self, phase: str) -> None:
        for node in self._services():
            used = node.process.resources()
            if used is not None:
                self.record(
                    records.Used(
                        t=now(),
                        process=node.name,
                        pid=node.process.pid,
                        phase="before" if phase == "before" else "after",
                        rss_bytes=used.rss_bytes,
                        files=used.files,
                    )
                )

    async def _settle_files(self, timeout_s: float = 5.0, idle_files: int = 28) -> None:
        """Wait until the services have closed the clients' connections. They keep their connections to the stores."""

        def kept(node: Node) -> int:
            return sum(proxy.connections for proxy in (node.redis, node.mongo_proxy) if proxy is not None)

        def settled() -> bool:
            used = [(node, node.process.resources()) for node in self._services()]
            return all(one is None or one.files - kept(node) <= idle_files for node, one in used)

        try:
            await until(settled, timeout_s, "closed files", poll_interval_s=0.05)
        except AssertionError:
            return
