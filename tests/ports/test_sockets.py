"""`Sockets` and its groups: the fake and our client manager on real connections pass one suite."""

import asyncio
import json
import secrets
from typing import Any, Protocol

import pytest

from gifchat_contracts.events import body
from gifchat_contracts.socket_events import CHAT_NAMESPACE, LOBBY_NAMESPACE
from gifchat_realtime_gateway.adapters.signed_tokens import SignedTokens
from gifchat_realtime_gateway.engine.fan_out import CHUNK_SIZE
from gifchat_realtime_gateway.ports import Sockets
from gifchat_realtime_gateway.settings import Settings
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.server import create_server
from gifchat_testkit.fakes.sockets import Event, FakeSockets

MARK = ("mark", None)


class World(Protocol):
    """Clients and the events that they received."""

    @property
    def sockets(self) -> Sockets: ...

    async def connect(self, namespace: str = CHAT_NAMESPACE) -> str:
        """Connect a client. Returns its sid."""
        ...

    async def disconnect(self, sid: str) -> None: ...

    async def received(self, sid: str) -> list[Event]:
        """Return everything that was written to the client, in order."""
        ...


class FakeWorld:
    def __init__(self, *, late: bool) -> None:
        self.sockets = FakeSockets(late=late)
        self._gone: set[str] = set()

    async def connect(self, namespace: str = CHAT_NAMESPACE) -> str:
        sid = secrets.token_hex(8)
        (self.sockets.chat if namespace == CHAT_NAMESPACE else self.sockets.lobby)[sid] = []
        return sid

    async def disconnect(self, sid: str) -> None:
        self.sockets.chat.pop(sid, None)
        self.sockets.lobby.pop(sid, None)

    async def received(self, sid: str) -> list[Event]:
        await written()
        return (self.sockets.chat | self.sockets.lobby).get(sid, [])


class RealWorld:
    """Polling clients of a server without a network."""

    def __init__(self) -> None:
        self.sockets = ClientManager()
        self._server = create_server(Settings(), self.sockets, lambda: False, SignedTokens(Settings().session_secrets))
        self._eio_sids: dict[str, tuple[str, str]] = {}
        self._received: dict[str, list[Event]] = {}

    async def connect(self, namespace: str = CHAT_NAMESPACE) -> str:
        eio_sid = secrets.token_hex(8)
        self._server.eio.add(eio_sid, {"REMOTE_ADDR": "203.0.113.7"}, None)
        sid: str = await self.sockets.connect(eio_sid, namespace)
        self._eio_sids[sid] = (eio_sid, namespace)
        self._received[sid] = []
        return sid

    async def disconnect(self, sid: str) -> None:
        eio_sid, namespace = self._eio_sids.pop(sid)
        await self.sockets.disconnect(sid, namespace)
        await self._server.eio.disconnect(eio_sid)

    async def received(self, sid: str) -> list[Event]:
        await written()
        if sid not in self._eio_sids:
            return []
        eio_sid, namespace = self._eio_sids[sid]
        connection = self._server.eio.connections[eio_sid]
        connection.send(f"42{namespace},{json.dumps(MARK)}")
        while (events := self._received[sid])[-1:] != [MARK]:
            for packet in await connection.poll():
                assert isinstance(packet, str)
                prefix, content = packet.split(",", 1)
                assert prefix == f"42{namespace}"
                event, payload = json.loads(content)
                events.append((event, payload))
        events.pop()
        return events


async def written() -> None:
    """Wait a few turns of the event loop, until everything sent is written."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(params=["fake", "late fake", "real"])
async def world(request: pytest.FixtureRequest) -> World:
    return RealWorld() if request.param == "real" else FakeWorld(late=request.param == "late fake")


def event(payload: Any) -> bytes:
    return body("chat", payload)


def chats(*payloads: Any) -> list[Event]:
    return [("chat", payload) for payload in payloads]


async def test_an_event_reaches_the_given_sids_once(world: World) -> None:
    anne, bob, carl = [await world.connect() for _ in range(3)]
    world.sockets.deliver([anne, carl], event({"text": "안녕 <b>\n🙂"}))
    world.sockets.deliver([], event("nobody"))
    assert await world.received(anne) == await world.received(carl) == chats({"text": "안녕 <b>\n🙂"})
    assert await world.received(bob) == []


async def test_events_arrive_in_the_order_of_the_calls(world: World) -> None:
    anne = await world.connect()
    for number in range(50):
        world.sockets.deliver([anne], event(number))
    assert await world.received(anne) == chats(*range(50))


async def test_unknown_and_disconnected_sids_are_skipped(world: World) -> None:
    anne, bob = await world.connect(), await world.connect()
    await world.disconnect(anne)
    world.sockets.deliver([anne, "never there", bob], event(1))
    assert await world.received(bob) == chats(1)
    assert await world.received(anne) == []


async def test_lobby_events_reach_only_the_lobby(world: World) -> None:
    anne, visitor, other = (
        await world.connect(),
        await world.connect(LOBBY_NAMESPACE),
        await world.connect(LOBBY_NAMESPACE),
    )
    world.sockets.deliver_to_lobby(event(1))
    await world.disconnect(other)
    world.sockets.deliver_to_lobby(event(2))
    world.sockets.deliver([visitor], event("chat"))
    assert await world.received(visitor) == chats(1, 2)
    assert await world.received(anne) == []


@pytest.mark.parametrize("unreadable", [b"\xff\xfe", b'["chat","\xed\xa0\x80"]'])
async def test_sending_any_bytes_never_raises(world: World, unreadable: bytes) -> None:
    anne = await world.connect()
    visitor = await world.connect(LOBBY_NAMESPACE)
    group = world.sockets.group()
    group.add(anne)
    world.sockets.deliver([anne], unreadable)
    world.sockets.deliver_to_lobby(unreadable)
    group.send(unreadable)
    await written()
    assert visitor


async def test_members_of_a_group_get_its_events_in_order(world: World) -> None:
    members = [await world.connect() for _ in range(3)]
    outsider = await world.connect()
    group, other = world.sockets.group(), world.sockets.group()
    for sid in members:
        group.add(sid)
        group.add(sid)
    other.add(outsider)
    for number in range(20):
        group.send(event(number))
    for sid in members:
        assert await world.received(sid) == chats(*range(20))
    assert await world.received(outsider) == []


async def test_excluded_members_get_the_other_events(world: World) -> None:
    anne, bob, carl = [await world.connect() for _ in range(3)]
    group = world.sockets.group()
    for sid in (anne, bob, carl):
        group.add(sid)
    group.send(event(1))
    group.send(event(2), exclude=[anne, "never there"])
    group.send(event(3), exclude=[bob])
    group.send(event(4))
    assert await world.received(anne) == chats(1, 3, 4)
    assert await world.received(bob) == chats(1, 2, 4)
    assert await world.received(carl) == chats(1, 2, 3, 4)


async def test_a_late_joiner_gets_only_later_events(world: World) -> None:
    anne, bob = await world.connect(), await world.connect()
    group = world.sockets.group()
    group.add(anne)
    group.send(event(1))
    group.add(bob)
    group.send(event(2))
    assert await world.received(anne) == chats(1, 2)
    assert await world.received(bob) == chats(2)


async def test_a_member_that_is_added_again_gets_only_later_events(world: World) -> None:
    anne, bob = await world.connect(), await world.connect()
    group = world.sockets.group()
    group.add(anne)
    group.add(bob)
    group.send(event(1))
    group.add(anne)
    group.send(event(2))
    heard = await world.received(anne)
    written_at_once = isinstance(world, FakeWorld) and len(heard) == 2
    assert heard == (chats(1, 2) if written_at_once else chats(2))
    assert await world.received(bob) == chats(1, 2)


async def test_a_member_that_leaves_and_rejoins_at_once_gets_only_later_events(world: World) -> None:
    anne, bob = await world.connect(), await world.connect()
    group = world.sockets.group()
    group.add(anne)
    group.add(bob)
    await written()
    group.discard(anne)
    group.send(event(1))
    group.add(anne)
    group.send(event(2))
    assert await world.received(anne) == chats(2)
    assert await world.received(bob) == chats(1, 2)


async def test_a_leaver_gets_no_later_events(world: World) -> None:
    anne, bob = await world.connect(), await world.connect()
    group = world.sockets.group()
    for sid in (anne, bob):
        group.add(sid)
    group.discard(anne)
    group.discard(anne)
    group.discard("never there")
    group.send(event(1))
    assert await world.received(anne) == []
    assert await world.received(bob) == chats(1)


async def test_a_disconnected_member_is_skipped(world: World) -> None:
    anne, bob = await world.connect(), await world.connect()
    group = world.sockets.group()
    group.add("never there")
    for sid in (anne, bob):
        group.add(sid)
    await world.disconnect(anne)
    group.send(event(1))
    assert await world.received(bob) == chats(1)
    group.discard(anne)


async def test_sending_to_an_empty_group_is_a_no_op(world: World) -> None:
    group = world.sockets.group()
    group.send(event(1))
    await written()
    anne = await world.connect()
    group.add(anne)
    assert await world.received(anne) == []


async def test_a_large_group_gets_events_in_order_while_members_come_and_go(world: World) -> None:
    members = [await world.connect() for _ in range(CHUNK_SIZE + 50)]
    group = world.sockets.group()
    for sid in members:
        group.add(sid)
    group.send(event(1))
    await asyncio.sleep(0)
    group.discard(members[-1])
    late = await world.connect()
    group.add(late)
    group.send(event(2), exclude=[members[0]])
    group.send(event(3))
    assert await world.received(members[0]) == chats(1, 3)
    assert await world.received(members[1]) == await world.received(members[-2]) == chats(1, 2, 3)
    assert (await world.received(members[-1])) in ([], chats(1))
    assert await world.received(late) == chats(2, 3)
