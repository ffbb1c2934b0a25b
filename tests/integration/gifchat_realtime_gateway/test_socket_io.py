"""Socket.IO 5, rule by rule as in the protocol document: over polling, over WebSocket, and after an upgrade."""

import asyncio
import base64
import contextlib
import json
import re
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from gifchat_realtime_gateway.engine.link import MAX_BUFFER_BYTES
from gifchat_realtime_gateway.socketio.packet import MAX_ATTACHMENTS
from gifchat_testkit.engine_worlds import MAX_BYTES, World, chat_world, served
from gifchat_testkit.raw_websocket import client_frame, raw_websocket
from gifchat_testkit.waiting import until

PATH = "/socket.io/"
WEBSOCKET = f"{PATH}?EIO=4&transport=websocket"
TRANSPORTS = ("polling", "websocket", "upgrade")
DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served(chat_world(ping_interval_s=25.0, ping_timeout_s=20.0)) as world:
        yield world


class Client(Protocol):
    """Sends and receives Engine.IO messages over any transport."""

    sid: str

    async def send(self, *messages: str | bytes) -> None: ...
    async def receive(self) -> str | bytes: ...
    async def closed(self) -> None: ...


class PollingClient:
    def __init__(self, http: httpx.AsyncClient, sid: str) -> None:
        self.sid = sid
        self._http = http
        self._query = {"EIO": "4", "transport": "polling", "sid": sid}
        self._waiting: list[str] = []

    async def send(self, *messages: str | bytes) -> None:
        body = "\x1e".join(
            "4" + message if isinstance(message, str) else "b" + base64.b64encode(message).decode()
            for message in messages
        )
        answer = await self._http.post(PATH, params=self._query, content=body)
        assert answer.status_code in (200, 400)

    async def receive(self) -> str | bytes:
        while not self._waiting:
            answer = await self._http.get(PATH, params=self._query)
            assert answer.status_code == 200
            self._waiting = [packet for packet in answer.text.split("\x1e") if packet != "6"]
        packet = self._waiting.pop(0)
        if packet[0] == "b":
            return base64.b64decode(packet[1:])
        assert packet[0] == "4", packet
        return packet[1:]

    async def closed(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while (await self._http.get(PATH, params=self._query)).status_code == 200:
                pass


class WebSocketClient:
    def __init__(self, socket: ClientConnection, sid: str) -> None:
        self.sid = sid
        self._socket = socket

    async def send(self, *messages: str | bytes) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            for message in messages:
                await self._socket.send("4" + message if isinstance(message, str) else message)

    async def receive(self) -> str | bytes:
        async with asyncio.timeout(DEADLINE_S):
            packet = await self._socket.recv()
        if isinstance(packet, bytes):
            return packet
        assert packet[0] == "4", packet
        return packet[1:]

    async def closed(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self._socket.recv()


@asynccontextmanager
async def connected(world: World, how: str) -> AsyncIterator[Client]:
    """A session that has not opened a namespace yet."""
    async with contextlib.AsyncExitStack() as stack:
        sid = ""
        if how != "websocket":
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=world.url, timeout=DEADLINE_S, verify=False)
            )
            answer = await http.get(PATH, params={"EIO": "4", "transport": "polling"})
            sid = json.loads(answer.text[1:])["sid"]
            if how == "polling":
                yield PollingClient(http, sid)
                return
        address = f"ws://127.0.0.1:{world.port}{WEBSOCKET}" + (f"&sid={sid}" if sid else "")
        socket = await stack.enter_async_context(websockets.connect(address, compression=None))
        if how == "upgrade":
            await socket.send("2probe")
            assert await socket.recv() == "3probe"
            await socket.send("5")
        else:
            sid = json.loads((await socket.recv())[1:])["sid"]
        yield WebSocketClient(socket, sid)


@pytest.fixture(params=TRANSPORTS)
async def client(world: World, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A session on each transport that has opened no namespace."""
    async with connected(world, request.param) as client:
        yield client


async def enter(client: Client, namespace: str = "/", auth: str = "") -> str:
    """Connect to a namespace. Returns the Socket.IO sid."""
    prefix = "" if namespace == "/" else f"{namespace},"
    await client.send(f"0{prefix}{auth}")
    answer = await client.receive()
    assert isinstance(answer, str)
    assert answer.startswith(f"0{prefix}{{"), answer
    handshake = json.loads(answer[1 + len(prefix) :])
    assert handshake.keys() == {"sid"}
    assert await client.receive() == f'2{prefix}["auth",{auth or "{}"}]', "events follow the CONNECT answer"
    return str(handshake["sid"])


@pytest.fixture
async def inside(client: Client) -> Client:
    """A session in `/`, on each transport."""
    await enter(client)
    return client


async def pong(client: Client, namespace: str = "/") -> None:
    """Assert that the session is open and has received nothing else."""
    prefix = "" if namespace == "/" else f"{namespace},"
    await client.send(f'2{prefix}["message","?"]')
    assert await client.receive() == f'2{prefix}["message-back","?"]'


# ----------------------------------------------------------------------------------------------------------- connect


@pytest.mark.parametrize("namespace", ["/", "/custom"])
@pytest.mark.parametrize("auth", ["", '{"token":"123"}'])
async def test_a_client_connects_to_a_namespace(client: Client, namespace: str, auth: str) -> None:
    await enter(client, namespace, auth)
    await pong(client, namespace)


async def test_the_comma_after_a_namespace_is_optional(client: Client) -> None:
    await client.send("0/custom")
    assert re.fullmatch(r'0/custom,{"sid":"[\w-]{20}"}', str(await client.receive()))


async def test_one_connection_may_open_several_namespaces(world: World, client: Client) -> None:
    sids = [await enter(client), await enter(client, "/custom"), await enter(client, "/admin", '{"token":"secret"}')]
    assert len({*sids, client.sid}) == 4, "each namespace has its own sid, and none is the connection's"
    for namespace in ("/", "/custom", "/admin"):
        await pong(client, namespace)
    assert [world.environs[sid]["REMOTE_ADDR"] for sid in sids] == ["127.0.0.1"] * 3


async def test_an_invalid_namespace_is_refused(client: Client) -> None:
    await client.send("0/random")
    assert await client.receive() == '4/random,{"message":"Invalid namespace"}'
    await client.send('0/random,{"token":"123"}')
    assert await client.receive() == '4/random,{"message":"Invalid namespace"}'
    await enter(client)
    await pong(client)


async def test_a_handler_may_refuse_a_connection(client: Client) -> None:
    await enter(client)
    for auth in ("", '{"token":"wrong"}'):
        await client.send(f"0/admin,{auth}")
        answer = str(await client.receive())
        assert answer.startswith("4/admin,{"), "nothing that its handler emitted is sent"
        assert json.loads(answer[8:]) == {"message": "Not authorized", "data": {"wants": "a token"}}
    await enter(client, "/admin", '{"token":"secret"}')
    await pong(client, "/admin")
    await pong(client)


async def test_a_refused_client_is_not_in_the_namespace(client: Client) -> None:
    await client.send("0/admin,")
    await client.receive()
    await client.send('2/admin,["message","x"]')
    await client.closed()


@pytest.mark.parametrize(
    "first", ['2["message"]', '2/custom,["message"]', "1", "1/custom,", "31[]", '51-["message",{}]', '4{"message":"x"}']
)
async def test_the_first_packet_must_be_connect(client: Client, first: str) -> None:
    await client.send(first)
    await client.closed()


async def test_an_event_for_an_unopened_namespace_closes_the_connection(client: Client) -> None:
    await enter(client, "/custom")
    await client.send('2["message","x"]')
    await client.closed()


async def test_connecting_twice_to_a_namespace_closes_the_connection(inside: Client) -> None:
    await inside.send("0")
    await inside.closed()


@pytest.mark.parametrize("how", TRANSPORTS)
async def test_a_client_that_opens_no_namespace_is_closed(how: str) -> None:
    with served(chat_world(ping_interval_s=25.0, namespace_timeout_s=0.3)) as world:
        async with connected(world, how) as silent, connected(world, how) as refused, connected(world, how) as client:
            await enter(client)
            await refused.send("0/random")
            await refused.receive()
            for each in (silent, refused):
                await until(lambda each=each: each.sid not in world.engine.connections)  # type: ignore[misc]
                await each.closed()
            await pong(client)


# ------------------------------------------------------------------------------------------------------------ events


async def test_an_event_reaches_its_handler(inside: Client) -> None:
    await inside.send('2["message",1,"2",{"3":[true]}]')
    assert await inside.receive() == '2["message-back",1,"2",{"3":[true]}]'


@pytest.mark.parametrize("name", ["1", "1.0", '"1"', "1.5"])
async def test_a_number_names_the_same_event_as_its_digits(inside: Client, name: str) -> None:
    await inside.send(f'2[{name},"a"]')
    assert await inside.receive() == '2["message-back","a"]'


async def test_an_event_in_another_namespace_reaches_its_handler(client: Client) -> None:
    await enter(client, "/custom")
    await client.send('2/custom,["message","a,b/c"]')
    assert await client.receive() == '2/custom,["message-back","a,b/c"]'


async def test_a_cancelled_handler_sends_no_ack_and_blocks_no_other(inside: Client) -> None:
    await inside.send('21["broken"]')
    await inside.send('22["message-with-ack",2]')
    assert [await inside.receive(), await inside.receive()] == ["31[]", "32[2]"]


async def test_a_cancelled_disconnect_handler_still_ends_the_session() -> None:
    with served(chat_world(ping_interval_s=25.0)) as world:
        world.broken = True
        async with connected(world, "websocket") as client:
            await enter(client)
            await enter(client, "/custom")
            assert world.sessions() == 2
        await until(lambda: world.engine.connections == {})
        await until(lambda: [call[:2] for call in world.calls][2:] == [("disconnect", "/"), ("disconnect", "/custom")])
        await until(lambda: world.sessions() == 0)


async def test_any_character_is_echoed(inside: Client) -> None:
    text = '가\N{PILE OF POO}\u2028\u0000"\\/'
    await inside.send("2" + json.dumps(["message", text], ensure_ascii=False))
    assert json.loads(str(await inside.receive())[1:]) == ["message-back", text]


async def test_an_event_without_a_handler_is_ignored(inside: Client) -> None:
    await inside.send('2["unknown",1]')
    await pong(inside)


BINARY = '["{}",{{"_placeholder":true,"num":0}},{{"_placeholder":true,"num":1}}]'


async def test_a_binary_event_reaches_its_handler(inside: Client) -> None:
    await inside.send("52-" + BINARY.format("message"), b"\1\2\3", b"\4\5\6")
    assert await inside.receive() == "52-" + BINARY.format("message-back")
    assert [await inside.receive(), await inside.receive()] == [b"\1\2\3", b"\4\5\6"]
    await pong(inside)


async def test_a_binary_event_in_another_namespace_reaches_its_handler(client: Client) -> None:
    await enter(client, "/custom")
    await client.send('51-/custom,["message",{"deep":[{"_placeholder":true,"num":0}]}]', b"x")
    assert await client.receive() == '51-/custom,["message-back",{"deep":[{"_placeholder":true,"num":0}]}]'
    assert await client.receive() == b"x"


async def test_a_binary_event_may_have_no_attachments(inside: Client) -> None:
    await inside.send('50-["message","x"]')
    assert await inside.receive() == '2["message-back","x"]'


async def test_events_are_handled_one_at_a_time(inside: Client) -> None:
    await inside.send('2["later",0.05,"first"]', '51-["message",{"_placeholder":true,"num":0}]', b"second")
    await inside.send('2["later",0,"third"]')
    got = [await inside.receive() for _ in range(4)]
    assert got == [
        '2["message-back","first"]',
        '51-["message-back",{"_placeholder":true,"num":0}]',
        b"second",
        '2["message-back","third"]',
    ]


async def test_many_events_keep_their_order(inside: Client) -> None:
    async def send() -> None:
        for begin in range(0, 1_000, 100):
            await inside.send(*(f'2["message",{number}]' for number in range(begin, begin + 100)))

    sending = asyncio.create_task(send())
    for number in range(1_000):
        assert await inside.receive() == f'2["message-back",{number}]'
    await sending


# ------------------------------------------------------------------------------------------------- acknowledgements


@pytest.mark.parametrize("number", ["0", "1", "456", "999999999999999"])
async def test_an_event_with_an_id_is_acked(inside: Client, number: str) -> None:
    await inside.send(f'2{number}["message-with-ack",1,"2",{{"3":[false]}}]')
    assert await inside.receive() == f'3{number}[1,"2",{{"3":[false]}}]'


async def test_an_event_in_another_namespace_is_acked(client: Client) -> None:
    await enter(client, "/custom")
    await client.send('2/custom,13["message-with-ack","bar"]')
    assert await client.receive() == '3/custom,13["bar"]'


async def test_an_empty_ack_is_sent(inside: Client) -> None:
    await inside.send('212["nothing"]', '213["message-with-ack"]', '214["message-with-ack",null]')
    assert [await inside.receive() for _ in range(3)] == ["312[]", "313[]", "314[null]"]


async def test_a_handler_may_send_no_ack(inside: Client) -> None:
    await inside.send('21["unanswered"]')
    await pong(inside)


async def test_the_next_poll_after_a_malformed_packet_gets_close(world: World) -> None:
    async with connected(world, "polling") as client:
        await enter(client)
        await client.send("abc")
        await until(lambda: client.sid not in world.engine.connections)
        async with httpx.AsyncClient(base_url=world.url, timeout=DEADLINE_S, verify=False) as http:
            query = {"EIO": "4", "transport": "polling", "sid": client.sid}
            answers = [await http.post(PATH, params=query, content="3"), await http.get(PATH, params=query)]
            assert [(answer.status_code, answer.text) for answer in answers] == [(200, "ok"), (200, "1")]
            assert (await http.get(PATH, params=query)).status_code == 400


async def test_an_event_without_an_id_is_not_acked(inside: Client) -> None:
    await inside.send('2["message-with-ack",1]')
    await pong(inside)


async def test_an_ack_may_be_binary(inside: Client) -> None:
    await inside.send("52-789" + BINARY.format("message-with-ack"), b"\1\2\3", b"\4\5\6")
    assert await inside.receive() == '62-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert [await inside.receive(), await inside.receive()] == [b"\1\2\3", b"\4\5\6"]


async def test_the_server_may_request_an_ack(inside: Client) -> None:
    await inside.send('2["question","what?"]')
    assert await inside.receive() == '21["question","what?"]'
    await inside.send('31["that",1]')
    assert await inside.receive() == '2["answered","that",1]'
    await inside.send('2["question"]')
    assert await inside.receive() == '22["question"]'
    await inside.send('61-2[{"_placeholder":true,"num":0}]', b"x")
    assert await inside.receive() == '51-["answered",{"_placeholder":true,"num":0}]'
    assert await inside.receive() == b"x"


async def test_unrequested_acks_are_ignored(inside: Client) -> None:
    await inside.send("37[]", "3/custom,1[]")
    await inside.send('2["question"]')
    assert await inside.receive() == '21["question"]'
    await inside.send("31[]", "31[]", "399[]")
    assert await inside.receive() == '2["answered"]'
    await pong(inside)


# -------------------------------------------------------------------------------------------------------- disconnect


async def test_disconnecting_one_namespace_keeps_the_others_open(world: World, inside: Client) -> None:
    custom = await enter(inside, "/custom")
    await inside.send("1/custom,", '2["message","to the main namespace"]')
    assert await inside.receive() == '2["message-back","to the main namespace"]'
    assert ("disconnect", "/custom", custom, "client namespace disconnect") in world.calls
    again = await enter(inside, "/custom")
    assert again != custom
    await pong(inside, "/custom")


async def test_disconnecting_the_last_namespace_keeps_the_connection_open(inside: Client) -> None:
    await inside.send("1")
    await enter(inside)
    await pong(inside)


async def test_disconnecting_twice_is_a_no_op(inside: Client) -> None:
    await enter(inside, "/custom")
    await inside.send("1/custom,", "1/custom", "1/unknown,")
    await pong(inside)


async def test_an_event_after_the_disconnect_closes_the_connection(inside: Client) -> None:
    await enter(inside, "/custom")
    await inside.send("1/custom,", '2/custom,["message","late"]')
    await inside.closed()


async def test_the_server_may_disconnect_a_namespace(world: World, inside: Client) -> None:
    custom = await enter(inside, "/custom")
    await inside.send('2/custom,["kick"]')
    assert await inside.receive() == "1/custom,"
    await until(lambda: ("disconnect", "/custom", custom, "server disconnect") in world.calls)
    await pong(inside)
    await enter(inside, "/custom")


async def test_the_server_may_close_the_connection(world: World, client: Client) -> None:
    sids = {"/": await enter(client), "/custom": await enter(client, "/custom")}
    await client.send('2["close"]')
    await client.closed()
    for namespace, sid in sids.items():
        await until(lambda namespace=namespace, sid=sid: end_reasons(world, namespace, sid) == ["server disconnect"])  # type: ignore[misc]


def end_reasons(world: World, namespace: str, sid: str) -> list[str]:
    return [call[3] for call in world.calls if call[:3] == ("disconnect", namespace, sid)]


async def test_every_namespace_handles_the_disconnect_once(world: World) -> None:
    async with connected(world, "websocket") as client:
        sids = {namespace: await enter(client, namespace) for namespace in ("/", "/custom")}
    for namespace, sid in sids.items():
        await until(lambda namespace=namespace, sid=sid: end_reasons(world, namespace, sid) == ["transport close"])  # type: ignore[misc]


async def test_an_event_before_the_client_left_is_handled(world: World) -> None:
    async with connected(world, "websocket") as client:
        sid = await enter(client)
        await client.send('2["later",0.05,"x"]', '2["nothing"]')
    await until(lambda: end_reasons(world, "/", sid) != [])
    assert [call[0] for call in world.calls if call[2] == sid] == ["connect", "nothing", "disconnect"]


# --------------------------------------------------------------------------------------------------------- malformed

MALFORMED = [
    "",
    "abc",
    "7",
    "9[]",
    "-1",
    "2",
    "2{}",
    "2[]",
    '2"message"',
    "2null",
    "2[true]",
    "2[null]",
    '2[["message"]]',
    '2["message"',
    '2["message",]',
    '2["message",NaN]',
    '2["message",Infinity]',
    '2["message"]x',
    '2abc["message"]',
    '2-1["message"]',
    '21-["message"]',
    '2\u0661["message"]',
    '21234567890123456["message"]',
    "2" + "[" * 5_000,
    "2" + '["message",' + "[" * 3_000 + "]" * 3_000 + "]",
    '2["connect"]',
    '2["disconnect"]',
    '2["disconnecting"]',
    '2["connect_error"]',
    '2["newListener"]',
    '2["removeListener"]',
    '0/custom,["no object"]',
    '0/custom,"token"',
    "0/custom,null",
    "0/custom,{",
    "1{}",
    "3[]",
    "30[]",
    "31",
    "31{}",
    '4{"message":"x"}',
    '5["message"]',
    '5-["message"]',
    '51["message"]',
    "51-",
    "51-[]",
    "51-{}",
    f'5{MAX_ATTACHMENTS + 1}-["message"]',
    '59999999999-["message"]',
    "61-[]",
    "61-1{}",
]


@pytest.mark.parametrize("packet", MALFORMED, ids=[str(number) for number in range(len(MALFORMED))])
async def test_a_malformed_packet_closes_the_connection(
    world: World, packet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connected(world, "websocket") as client:
        sid = await enter(client)
        await client.send(packet)
        await client.closed()
        await until(lambda: end_reasons(world, "/", sid) == ["transport error"])
    assert "message_handler_failed" not in capsys.readouterr().out, "a client error must not be logged as ours"


@pytest.mark.parametrize("packet", ["abc", "2{}", '2["connect",{}]', "51-[]"])
async def test_a_malformed_packet_closes_the_connection_on_every_transport(inside: Client, packet: str) -> None:
    await inside.send(packet)
    await inside.closed()


ONE = '["message",{"_placeholder":true,"num":0}]'
BROKEN_ATTACHMENTS: list[list[str | bytes]] = [
    [b"nothing announced"],
    [b""],
    ["51-" + ONE, '2["message"]'],
    ["51-" + ONE, b"x", b"one too many"],
    ['51-["message",{"_placeholder":true,"num":1}]', b"x"],
    ['51-["message",{"_placeholder":true,"num":-1}]', b"x"],
    ['51-["message",{"_placeholder":true,"num":"0"}]', b"x"],
    ['51-["message",{"_placeholder":true,"num":true}]', b"x"],
    ['51-["message",{"_placeholder":true}]', b"x"],
    ['51-["disconnect",{"_placeholder":true,"num":0}]', b"x"],
    ["51-/custom," + ONE, b"x"],
    ["53-" + ONE, bytes(MAX_BYTES // 2), bytes(MAX_BYTES // 2), b"x"],
]


@pytest.mark.parametrize("messages", BROKEN_ATTACHMENTS, ids=[str(number) for number in range(len(BROKEN_ATTACHMENTS))])
async def test_unexpected_attachments_close_the_connection(
    world: World, messages: list[str | bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    async with connected(world, "websocket") as client:
        await enter(client)
        await client.send(*messages)
        await client.closed()
    assert "message_handler_failed" not in capsys.readouterr().out


async def test_attachments_within_the_limit_are_accepted(inside: Client) -> None:
    half = bytes(MAX_BYTES // 4)
    await inside.send("52-" + BINARY.format("message"))
    await inside.send(half)
    await inside.send(half)
    await inside.receive()
    assert [await inside.receive(), await inside.receive()] == [half, half]


async def test_a_violation_on_one_connection_does_not_affect_others(world: World) -> None:
    async with connected(world, "websocket") as good, connected(world, "websocket") as bad:
        await enter(good)
        await enter(bad)
        await bad.send('51-["message",{"_placeholder":true,"num":7}]', b"x")
        await bad.closed()
        await pong(good)


# -------------------------------------------------------------------------------------------------------------- slow


async def test_a_slow_reader_is_closed_with_4008_and_delays_no_other_client(world: World) -> None:
    async with (
        connected(world, "websocket") as fast,
        connected(world, "polling") as poller,
        raw_websocket(world.port, WEBSOCKET, receive_buffer=4_096) as slow,
    ):
        for each in (fast, poller):
            await enter(each)
            await each.send('21["enter"]')
            assert await each.receive() == "31[true]"
        _, handshake = await slow.frame()
        slow_sid = json.loads(handshake[1:])["sid"]
        await slow.text("40")
        await slow.text('421["enter"]')
        for _ in range(3):
            await slow.frame()
        said = 0
        text = "x" * 30_000
        got: list[Any] = []

        async def listen(client: Client) -> int:
            heard = 0
            while True:
                message = await client.receive()
                if message == '2["said","end"]':
                    return heard
                heard += str(message).startswith('2["said"')

        async with connected(world, "websocket") as speaker:
            await enter(speaker)
            listening = [asyncio.create_task(listen(each)) for each in (fast, poller)]
            while world.engine.find(slow_sid) is not None:
                await speaker.send(f'27["say","{text}"]')
                assert str(await speaker.receive()).startswith("37[")
                said += 1
                assert said < 100
            for _ in range(3):
                await speaker.send(f'27["say","{text}"]')
                got.append(await speaker.receive())
            await speaker.send('27["say","end"]')
            assert [await task for task in listening] == [said + 3] * 2
            assert await slow.closed() == 4008


async def test_a_slow_polling_client_is_closed(world: World) -> None:
    async with connected(world, "polling") as slow, connected(world, "websocket") as speaker:
        for each in (slow, speaker):
            await enter(each)
        await slow.send('21["enter"]')
        text = "x" * 60_000
        said = 0
        while world.engine.find(slow.sid) is not None:
            await speaker.send(f'27["say","{text}"]')
            await speaker.receive()
            said += 1
            assert said < 100
        await slow.closed()


async def test_the_server_stops_reading_from_a_flooding_client_and_loses_nothing(world: World) -> None:
    async with raw_websocket(world.port, WEBSOCKET) as flood, connected(world, "websocket") as other:
        await enter(other)
        _, handshake = await flood.frame()
        sid = json.loads(handshake[1:])["sid"]
        await flood.text("40")
        # The client reads only after sending everything, so all responses together must fit the send buffer limit.
        frames = [client_frame(1, f'42["message",{number},"{"x" * 3_300}"]'.encode()) for number in range(300)]
        assert len(b"".join(frames)) < MAX_BUFFER_BYTES
        await flood.text('42["later",1,"first"]')
        filling = asyncio.create_task(flood.send(b"".join(frames)))
        connection = world.engine.find(sid)
        assert connection is not None
        await until(lambda: len(connection._inbox or ()) > 32)
        await pong(other)
        assert len(connection._inbox or ()) < 100, "only what was read in one go"
        got = [await flood.frame() for _ in range(303)]
        await filling
        assert [payload[:20] for _, payload in got[2:4]] == [b'42["message-back","f', b'42["message-back",0,']
        numbers = [json.loads(payload[2:])[1] for _, payload in got[3:]]
        assert numbers == list(range(300))


async def test_bytes_that_are_not_http_get_400(world: World) -> None:
    with sockets.create_connection(("127.0.0.1", world.port)) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 400")


# ----------------------------------------------------------------------------------------------------------- cleanup


async def test_closed_sessions_leave_nothing_behind(world: World) -> None:
    await until(lambda: not [each for each in world.engine.connections.values() if each.link])
    await until(lambda: not world.engine._tasks)
