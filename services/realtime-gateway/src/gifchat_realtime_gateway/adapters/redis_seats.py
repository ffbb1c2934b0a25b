"""Seats in Redis or Valkey: one Lua script per decision. All keys of a room and its partition are in one slot.

A script receives the number of a user's sessions on this node. It does not count up or down, so running it twice after
a lost reply changes nothing. This works only in order, so the scripts of one user take turns. If the
outcome of a script is unknown, the next renewal corrects Redis.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError, RedisError

from gifchat_chassis.redis_pipelining import Pipelining
from gifchat_contracts import keys, limits
from gifchat_contracts.grants import Grant
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import NodeId, RoomId, UserId
from gifchat_realtime_gateway.domain.seats import Admission, Departure, HeldSeats, Readmission
from gifchat_realtime_gateway.ports import SeatsUnavailableError

USED_TICKET_KEPT_S = limits.TICKET_TTL_S + 5
"""An older ticket is refused as expired anyway. The extra seconds allow for clock skew."""

MAX_CONCURRENT_CALLS = 32
"""Further calls wait. Otherwise a burst of joins would exhaust the connection pool, which then raises errors."""

Seat = tuple[RoomId, UserId]


def _script_text(name: str) -> str:
    """Return a script: its first line (engine and flags), then the part that all scripts share, then the rest."""
    engine, _, own = _own_text(name).partition("\n")
    return f"{engine}\n{_own_text('seats')}\n{own}"


def _own_text(name: str) -> str:
    """Return the text of a file."""
    return (files("gifchat_realtime_gateway.adapters") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _partition_keys(partition: int) -> list[str]:
    return [keys.generation(partition), keys.leases(partition), keys.grace(partition), keys.occupancy(partition)]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


class _Turn:
    """Runs one script at a time for a user's seat. A turn that ends in an error marks the seat as unsettled."""

    __slots__ = ("_lock", "_seat", "_turns", "_unsettled", "_users")

    def __init__(self, seat: Seat, turns: "dict[Seat, _Turn]", unsettled: set[Seat]) -> None:
        """This turn stays in `turns` while a caller holds it or waits for it."""
        self._seat = seat
        self._turns = turns
        self._unsettled = unsettled
        self._lock = asyncio.Lock()
        self._users = 0

    async def __aenter__(self) -> None:
        self._users += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._end(failed=True)
            raise

    async def __aexit__(self, error: type[BaseException] | None, *_more: object) -> None:
        self._lock.release()
        self._end(failed=error is not None)

    def _end(self, *, failed: bool) -> None:
        self._users -= 1
        if not self._users:
            del self._turns[self._seat]
        if failed:
            self._unsettled.add(self._seat)


@contextmanager
def _unavailable() -> Iterator[None]:
    """Translate every Redis error into `SeatsUnavailableError`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise SeatsUnavailableError(str(error)) from error


class RedisSeats:
    """`ports.Seats` on Redis 7, Valkey 8 and later."""

    def __init__(
        self,
        redis: Redis,
        node_id: NodeId,
        lease_ttl_s: float,
        grace_s: float,
        recovering_s: float,
        *,
        readmission_s: float = 0.0,
        guest_grace_s: float | None = None,
    ) -> None:
        """`redis` needs a `socket_timeout`, so that a silent server causes an error.

        `guest_grace_s` is the grace of a guest's seat; None: the same as `grace_s`.
        The last `readmission_s` seconds of a recovery are for the seats of nodes that were late.
        """
        self._redis = redis
        self._node_id = node_id
        self._lease_ms = _ms(lease_ttl_s)
        self._grace_ms = _ms(grace_s)
        self._guest_grace_ms = self._grace_ms if guest_grace_s is None else _ms(guest_grace_s)
        self._recovering_ms = _ms(recovering_s)
        self._readmission_ms = _ms(readmission_s)

        self._admit, self._leave, self._remove, self._renew, self._restore, self._release, self._sweep, self._rest = (
            redis.register_script(_script_text(name))
            for name in ("admit", "leave", "remove", "renew", "restore", "release", "sweep", "recovering")
        )
        self._count_address = redis.register_script(_own_text("count_address"))
        self._calls = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        self._pipelining = Pipelining(redis)
        # A burst of joins needs the same keys repeatedly.
        self._room_keys = lru_cache(maxsize=1_024)(self._keys_of)
        self._held = HeldSeats()
        self._lost: set[RoomId] = set()
        self._servers: dict[RoomId, str] = {}
        """For each room with sessions here: the server that had its partition at the last call, and since when."""
        self._unsettled: set[Seat] = set()
        self._turns: dict[Seat, _Turn] = {}
        self._reaped_before: list[Departure] = []
        """Departures found outside a sweep. The next sweep returns them, with the occupancy at that time."""

    async def aclose(self) -> None:
        """Close the connection that this object opened."""
        self._pipelining.close()

    async def admit(
        self, room_id: RoomId, who: Identity, *, max_members: int | None, ticket_id: str | None
    ) -> Admission:
        script_keys = self._room_keys(room_id)
        if ticket_id is not None:
            script_keys += (keys.used_ticket(room_id, ticket_id),)
        async with self._turn(room_id, who.user_id):
            sessions = self._held.sessions(room_id, who.user_id) + 1
            most = "" if max_members is None else max_members
            args = [room_id, self._node_id, who.user_id, who.color, most, sessions]
            args += [self._lease_ms, self._recovering_ms, int(room_id in self._held)]
            args += ["" if ticket_id is None else secrets.token_hex(8), _ms(USED_TICKET_KEPT_S)]
            reply = await self._run(self._admit, script_keys, args)
            outcome, occupancy, arrived, retry_ms, lease_lost, gone, server = reply
            self._reaped_before += self._departures(gone)
            match outcome.decode():
                case "admitted":
                    if room_id not in self._held:
                        self._servers[room_id] = server.decode()
                    elif lease_lost or self._servers.setdefault(room_id, server.decode()) != server.decode():
                        self._lost.add(room_id)
                    self._held.add(room_id, who)
                    return Admission("admitted", int(occupancy), arrived=bool(arrived))
                case "recovering":
                    return Admission("recovering", int(occupancy), retry_after_s=int(retry_ms) / 1000)
                case "room_full":
                    return Admission("room_full", int(occupancy))
                case _:
                    return Admission("ticket_used", int(occupancy))

    def holds(self, room_id: RoomId, user_id: UserId) -> bool:
        return self._held.sessions(room_id, user_id) > 0

    async def leave(self, room_id: RoomId, user_id: UserId, *, guest: bool = False) -> Departure:
        self._held.take(room_id, user_id)
        return await self._end(room_id, user_id, self._guest_grace_ms if guest else self._grace_ms)

    async def remove(self, room_id: RoomId, user_id: UserId) -> Departure:
        self._held.drop(room_id, user_id)
        async with self._turn(room_id, user_id):
            reply = await self._run(self._remove, self._room_keys(room_id), [room_id, self._node_id, user_id])
        return self._departure(room_id, user_id, reply)

    async def renew(self) -> Collection[RoomId]:
        """See `ports.Seats`. Uses one pipeline: a script per partition and one per unsettled seat."""
        by_partition: dict[int, list[RoomId]] = defaultdict(list)
        for room_id in self._held.rooms():
            by_partition[keys.partition_of(room_id)].append(room_id)
        self._servers = {room_id: server for room_id, server in self._servers.items() if room_id in self._held}

        async with AsyncExitStack() as turns:
            settling = [seat for seat in self._unsettled if seat not in self._turns]
            for seat in settling:
                await turns.enter_async_context(self._turn(*seat))
            pipeline = self._redis.pipeline(transaction=False)
            for partition, room_ids in by_partition.items():
                args: list[Any] = [self._node_id, self._lease_ms, self._recovering_ms, *room_ids]
                await self._renew(_partition_keys(partition), args, client=pipeline)
            for room_id, user_id in settling:
                args = self._leave_args(room_id, user_id, self._grace_ms)
                await self._leave(self._room_keys(room_id), args, client=pipeline)
            replies = await self._execute(pipeline)
            self._unsettled.difference_update(settling)

        for partition, (server, *lost) in zip(by_partition, replies, strict=False):
            self._lost.update(RoomId(room_id.decode()) for room_id in lost)
            for room_id in by_partition[partition]:
                if self._servers.setdefault(room_id, server.decode()) != server.decode():
                    self._servers[room_id] = server.decode()
                    self._lost.add(room_id)
        self._lost.intersection_update(self._held.rooms())
        return frozenset(self._lost)

    async def restore(self, room_id: RoomId, seats: Mapping[Identity, int]) -> int:
        occupancy, *_ = await self._register(room_id, seats, max_members=None, owner_id=None)
        return occupancy

    async def readmit(
        self, room_id: RoomId, seats: Mapping[Identity, int], *, max_members: int, owner_id: UserId | None
    ) -> Readmission:
        occupancy, refused, rest_s = await self._register(room_id, seats, max_members=max_members, owner_id=owner_id)
        for user_id in refused:
            self._held.drop(room_id, user_id)
        if rest_s:
            return Readmission("recovering", refused, occupancy, rest_s)
        return Readmission("readmitted", refused, occupancy)

    def held(self, room_id: RoomId) -> Mapping[Identity, int]:
        return self._held.in_room(room_id)

    async def sweep(self) -> list[Departure]:
        """See `ports.Seats`. Uses one pipeline for all partitions."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in range(keys.PARTITIONS):
            await self._sweep(_partition_keys(partition), [self._recovering_ms], client=pipeline)
        reaped, self._reaped_before = self._reaped_before, []
        for departure in reaped:
            pipeline.zscore(keys.occupancy(keys.partition_of(departure.room_id)), departure.room_id)
        try:
            replies = await self._execute(pipeline)
        except BaseException:
            self._reaped_before += reaped
            raise
        swept = [departure for gone in replies[: keys.PARTITIONS] for departure in self._departures(gone)]
        return swept + [
            replace(departure, occupancy=int(members or 0))
            for departure, members in zip(reaped, replies[keys.PARTITIONS :], strict=True)
        ]

    async def count_address(self, whose: str, seats: int, *, kept_s: float) -> int:
        args = [self._node_id, seats, _ms(kept_s)]
        return int(await self._run(self._count_address, [keys.address_seats(whose)], args))

    async def grant(self, room_id: RoomId, user_id: UserId) -> Grant | None:
        async with self._calls:
            with _unavailable():
                granted = await self._redis.get(keys.grant(room_id, user_id))
        return None if granted is None else Grant.decode(granted)

    async def recovering_for_s(self) -> float:
        pipeline = self._redis.pipeline(transaction=False)
        for partition in range(keys.PARTITIONS):
            await self._rest(_partition_keys(partition), [self._recovering_ms], client=pipeline)
        return max(int(rest_ms) for rest_ms in await self._execute(pipeline)) / 1000

    async def release_node(self) -> None:
        """See `ports.Seats`. Uses one pipeline: a script per room."""
        rooms = {*self._held.rooms(), *(room_id for room_id, _ in self._unsettled)}
        pipeline = self._redis.pipeline(transaction=False)
        for room_id in rooms:
            await self._release(self._room_keys(room_id), [room_id, self._node_id, self._grace_ms], client=pipeline)
        if rooms:
            await self._execute(pipeline)
        self._held.clear()
        self._unsettled.clear()
        self._lost.clear()

    async def _register(
        self, room_id: RoomId, seats: Mapping[Identity, int], *, max_members: int | None, owner_id: UserId | None
    ) -> tuple[int, frozenset[UserId], float]:
        args: list[Any] = [room_id, self._node_id, self._lease_ms, self._recovering_ms, self._readmission_ms]
        args += ["" if max_members is None else max_members, owner_id or ""]
        for who, sessions in seats.items():
            self._held.put(room_id, who, sessions)
            args += (who.user_id, who.color, sessions)
        reply = await self._run(self._restore, self._room_keys(room_id), args)
        outcome, occupancy, refused, gone, strangers, rest_ms = reply
        self._reaped_before += self._departures(gone)
        if outcome.decode() != "recovering":
            self._lost.discard(room_id)
        # A `leave` sent meanwhile may have reached Redis before this script.
        self._unsettled.update((room_id, who.user_id) for who in seats if not self._held.sessions(room_id, who.user_id))
        for stranger in strangers:
            # Redis lost the `leave` of a user who left. A user who joins at this moment stays.
            departure = await self._end(room_id, UserId(stranger.decode()), 0)
            if departure.outcome == "gone":
                self._reaped_before.append(departure)
        return int(occupancy), frozenset(UserId(user_id.decode()) for user_id in refused), int(rest_ms) / 1000

    async def _end(self, room_id: RoomId, user_id: UserId, grace_ms: int) -> Departure:
        async with self._turn(room_id, user_id):
            args = self._leave_args(room_id, user_id, grace_ms)
            reply = await self._run(self._leave, self._room_keys(room_id), args)
        return self._departure(room_id, user_id, reply)

    def _keys_of(self, room_id: RoomId) -> tuple[str, ...]:
        return (
            *_partition_keys(keys.partition_of(room_id)),
            keys.members(room_id),
            keys.nodes(room_id),
            keys.node_sessions(room_id, self._node_id),
        )

    def _leave_args(self, room_id: RoomId, user_id: UserId, grace_ms: int) -> list[Any]:
        return [room_id, self._node_id, user_id, self._held.sessions(room_id, user_id), grace_ms]

    def _turn(self, room_id: RoomId, user_id: UserId) -> _Turn:
        """Return the turn for a seat. The caller must enter it before it awaits anything."""
        seat = (room_id, user_id)
        turn = self._turns.get(seat)
        if turn is None:
            turn = self._turns[seat] = _Turn(seat, self._turns, self._unsettled)
        return turn

    async def _run(self, script: AsyncScript, script_keys: Sequence[str], args: Sequence[Any]) -> Any:
        words = ("EVALSHA", str(script.sha), len(script_keys), *script_keys, *args)
        with _unavailable():
            try:
                return await self._pipelining.call(*words)
            except NoScriptError:
                # This server has not loaded the script yet.
                await self._pipelining.call("SCRIPT", "LOAD", str(script.script))
                return await self._pipelining.call(*words)

    async def _execute(self, pipeline: Pipeline) -> list[Any]:
        async with self._calls:
            with _unavailable():
                return await pipeline.execute()

    @staticmethod
    def _departure(room_id: RoomId, user_id: UserId, reply: Sequence[Any]) -> Departure:
        outcome, occupancy, color = reply[0].decode(), int(reply[1]), reply[2].decode()
        match outcome:
            case "held" | "grace" | "gone":
                return Departure(room_id, user_id, color, outcome, occupancy)
            case _:
                return Departure(room_id, user_id, "", "absent", occupancy)

    @staticmethod
    def _departures(gone: Iterable[Sequence[Any]]) -> list[Departure]:
        return [
            Departure(RoomId(room_id.decode()), UserId(user_id.decode()), color.decode(), "gone", int(occupancy))
            for room_id, user_id, color, occupancy in gone
        ]
