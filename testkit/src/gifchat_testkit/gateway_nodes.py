"""Gateways on fakes: the use cases, wired as in `gifchat_realtime_gateway.app`."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_contracts import keys, limits
from gifchat_contracts.codec import Frame, encode
from gifchat_contracts.identity import DEVELOPMENT_SECRET, Identity
from gifchat_contracts.ids import NodeId, RoomId
from gifchat_contracts.languages import Language
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import Join
from gifchat_realtime_gateway.adapters.signed_tokens import SignedTokens
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.refused_addresses import RefusedAddresses
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.domain.unknown_rooms import UnknownRooms
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence
from gifchat_realtime_gateway.use_cases.canary import Canary
from gifchat_realtime_gateway.use_cases.catch_up import CatchUp
from gifchat_realtime_gateway.use_cases.evict_sessions import EvictSessions
from gifchat_realtime_gateway.use_cases.fan_out import FanOut
from gifchat_realtime_gateway.use_cases.frame_router import FrameRouter
from gifchat_realtime_gateway.use_cases.host_rooms import HostRooms
from gifchat_realtime_gateway.use_cases.join_room import Joined, JoinRoom
from gifchat_realtime_gateway.use_cases.leave_room import LeaveRoom
from gifchat_realtime_gateway.use_cases.limit_seats import LimitSeats
from gifchat_realtime_gateway.use_cases.renew_leases import RenewLeases
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms
from gifchat_realtime_gateway.use_cases.send_message import SendMessage
from gifchat_realtime_gateway.use_cases.sweep_seats import SweepSeats
from gifchat_realtime_gateway.use_cases.tell_lobby import TellLobby
from gifchat_testkit.fakes.feed import Channels, FakeFeed, FakePublisher
from gifchat_testkit.fakes.rooms_api import FakeRoomsApi
from gifchat_testkit.fakes.seats import FakeSeats, SeatStore
from gifchat_testkit.fakes.sockets import FakeSockets


def now_s() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()


def now() -> datetime:
    """The running loop's time as a `datetime`."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now_s())


ADDRESS = "203.0.113.7"
"""The clients' address, unless a test chooses another one."""
GUEST_GRACE_S = 3.0
SEATS_PER_ADDRESS, GUEST_SEATS_PER_ADDRESS = 40, 10


class FakeNode:
    """One gateway. Its parts may be used alone; `FakeCluster.node` also runs its loops."""

    def __init__(self, name: str, seats: SeatStore, channels: Channels, api: FakeRoomsApi) -> None:
        self.deaf = 0
        """How often the canary was missed."""
        self.sockets = FakeSockets(late=True)
        self.rooms: dict[RoomId, HostedRoom] = {}
        self.seats = FakeSeats(
            seats,
            NodeId(name),
            limits.LEASE_TTL_S,
            limits.SEAT_GRACE_S,
            limits.RECOVERING_S,
            readmission_s=limits.READMISSION_S,
            guest_grace_s=GUEST_GRACE_S,
        )
        self.publisher = FakePublisher(channels)
        self.announce = AnnouncePresence(self.publisher)
        self.evict = EvictSessions(self.sockets, self.rooms, self.seats, self.announce, now)
        self.renew = RenewLeases(self.seats, self.evict, clock=now_s)
        self.fan_out = FanOut(self.sockets, self.rooms, self.renew.serves)
        self.repair = RepairRooms(api, self.fan_out, self.rooms)
        self.unknown = UnknownRooms()
        self.lobby = TellLobby(self.sockets, self.rooms, self.unknown)
        self.revoked: list[str] = []
        self.canary = Canary(self.publisher, keys.canary_channel(NodeId(name)), now_s)
        self.router = FrameRouter(
            self.rooms,
            self.fan_out,
            self.repair,
            self.evict,
            lobby=self.lobby,
            canary=self.canary,
            on_revoked=self.revoked.append,
        )
        self.feed = FakeFeed(channels, self.router, always=[keys.LOBBY_CHANNEL, self.canary.channel])
        self.hosts = HostRooms(
            self.feed, api, self.rooms, self.router, self.evict, self.sockets.group, self.unknown, clock=now_s
        )
        self.leave = LeaveRoom(self.seats, self.rooms, self.announce)
        self.limit_seats = LimitSeats(
            self.seats,
            per_address=SEATS_PER_ADDRESS,
            guests_per_address=GUEST_SEATS_PER_ADDRESS,
            grace_s=limits.SEAT_GRACE_S,
            clock=now_s,
        )
        self.catch_up = CatchUp(api, self.repair)
        self.join = JoinRoom(
            hosts=self.hosts,
            rooms=self.rooms,
            seats=self.seats,
            signatures=SignedTokens([DEVELOPMENT_SECRET]),
            catch_up=self.catch_up,
            announce=self.announce,
            leave=self.leave,
            limit_seats=self.limit_seats,
            clock=now,
        )
        self.send = SendMessage(
            api, self.publisher, self.rooms, self.renew.serves, self.hosts.record, now_s, now, RefusedAddresses()
        )
        self.sweep = SweepSeats(self.seats, self.announce)

    def session(
        self, who: Identity, language: Language = "en", address: str = ADDRESS, *, guest: bool = False
    ) -> Session:
        """Connect a client to `/chat`."""
        session = Session(secrets.token_hex(8), who, language, address, guest=guest)
        self.sockets.chat[session.sid] = []
        return session

    async def enter(
        self,
        who: Identity,
        room_id: RoomId,
        position: Position | None = None,
        ticket: str | None = None,
        *,
        address: str = ADDRESS,
    ) -> tuple[Session, Joined]:
        """Connect a client and let it join."""
        session = self.session(who, address=address)
        return session, await self.join.join(session, Join(room_id, ticket, position))

    def received(self, session: Session, event: str | None = None) -> list[Any]:
        """Return the payloads of `event` that the client received; without `event`, pairs of name and payload."""
        events = self.sockets.chat[session.sid]
        return list(events) if event is None else [payload for name, payload in events if name == event]

    async def _watch_canary(self) -> None:
        def on_deaf() -> None:
            self.deaf += 1

        await self.canary.run(on_deaf)

    def loops(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Return the gateway's background loops."""
        return [
            self._watch_canary,
            self.renew.run,
            self.limit_seats.run,
            self.sweep.run,
            self.announce.run,
            self.fan_out.run,
            self.repair.run,
            self.hosts.run,
            self.lobby.run,
        ]


class FakeCluster:
    """The fakes that gateways share."""

    def __init__(self) -> None:
        self.seats = SeatStore(now_s)
        self.channels = Channels()
        self.api = FakeRoomsApi()

    def new_node(self, name: str) -> FakeNode:
        """Create a node whose loops do not run."""
        return FakeNode(name, self.seats, self.channels, self.api)

    @asynccontextmanager
    async def node(self, name: str) -> AsyncIterator[FakeNode]:
        """Run a node with its loops until the block ends.

        Raises:
            AssertionError: a loop stopped by itself.
        """
        node = self.new_node(name)
        tasks = [asyncio.create_task(loop(), name=loop.__qualname__) for loop in node.loops()]
        try:
            yield node
            for task in tasks:
                assert not task.done(), f"{task.get_name()} stopped: {task}"
        finally:
            await cancel_until_done(*tasks)
            await node.repair.aclose()

    def publish(self, *frames: Frame, to: RoomId) -> None:
        """Publish frames on a room's channel."""
        for frame in frames:
            self.channels.publish(keys.room_channel(to), encode(frame))

    def tell_lobby(self, *frames: Frame) -> None:
        """Publish frames on the lobby's channel."""
        for frame in frames:
            self.channels.publish(keys.LOBBY_CHANNEL, encode(frame))

    def set_down(self, parts: Collection[str]) -> None:
        """Make exactly these dependencies unavailable: `seats`, `channels`, `api`."""
        self.seats.down = "seats" in parts
        self.api.down = "api" in parts
        if ("channels" in parts) != self.channels.down:
            if self.channels.down:
                self.channels.come_up()
            else:
                self.channels.go_down()
