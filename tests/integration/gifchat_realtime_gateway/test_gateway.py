"""The gateway as a real process, with a real rooms-api, MongoDB and Valkey, as its clients see it."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import socketio
import websockets
from bson import ObjectId
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_contracts import keys, limits
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.socket_events import CHAT_NAMESPACE, LOBBY_NAMESPACE
from gifchat_testkit import tokens
from gifchat_testkit.clients import ChatSocket, chat_socket
from gifchat_testkit.gateway_system import DEADLINE_S, ORIGIN, System, Visitor, running_system
from gifchat_testkit.services import Service

pytestmark = pytest.mark.servers

FOREIGN = [
    "null",
    "https://evil.example",
    "https://chat.example.evil.example",
    "https://evil-chat.example",
    "https://chat.example:444",
    "http://chat.example",
    "https://chat.example/",
    "https://chat.example@evil.example",
    "https://evil.example, https://chat.example",
    "*",
]
ENGINE = "/socket.io/?EIO=4&transport="
NO_ROOM = str(ObjectId())


@pytest.fixture(scope="module")
def system(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    work_dir = tmp_path_factory.mktemp("gateway")
    with running_system(mongo_url, valkey_url, work_dir) as system:
        yield system


@pytest.fixture(scope="module")
def gateway(system: System) -> Iterator[Service]:
    with system.gateway("shared") as service:
        yield service
        assert service.process.poll() is None, service.log[-3_000:]


@pytest.fixture
async def http(gateway: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=DEADLINE_S) as client:
        yield client


@pytest.fixture
def anne(system: System) -> Visitor:
    return Visitor(system)


@pytest.fixture
def bob(system: System) -> Visitor:
    return Visitor(system)


@asynccontextmanager
async def socket(
    gateway: Service, cookie: str | None = None, transport: str = "websocket"
) -> AsyncIterator[ChatSocket]:
    async with chat_socket(gateway.url, cookie, (transport,), browser=False) as chat:
        yield chat


def ws(gateway: Service, path: str, origin: str | None = None, **headers: str) -> Any:
    url = gateway.url.replace("http", "ws", 1) + path
    return websockets.connect(
        url, origin=None if origin is None else Origin(origin), additional_headers=headers, compression=None
    )


async def until_closed(connection: ClientConnection) -> int | None:
    """Read until the connection is closed. Returns the close code."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await connection.recv()
    return connection.close_code


async def still_serves(gateway: Service) -> None:
    async with ws(gateway, ENGINE + "websocket") as connection:
        assert str(await connection.recv()).startswith("0{")


# Origins


@pytest.mark.parametrize("origin", [None, ORIGIN])
async def test_our_origin_and_no_origin_may_connect(
    gateway: Service, http: httpx.AsyncClient, origin: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    opened = await http.get(ENGINE + "polling", headers=headers)
    assert opened.status_code == 200
    assert opened.headers.get("access-control-allow-origin") == origin
    async with ws(gateway, ENGINE + "websocket", origin) as connection:
        assert str(await connection.recv()).startswith("0{")
    async with ws(gateway, "/ws", origin) as connection:
        await connection.send("anything")


@pytest.mark.parametrize("origin", FOREIGN)
async def test_other_origins_are_refused_on_every_transport(
    gateway: Service, http: httpx.AsyncClient, origin: str
) -> None:
    refused = await http.get(ENGINE + "polling", headers={"Origin": origin})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    for path in (ENGINE + "websocket", "/ws"):
        with pytest.raises(InvalidStatus) as refusal:
            async with ws(gateway, path, origin):
                pass
        assert refusal.value.response.status_code in (400, 403)

    sid = json.loads((await http.get(ENGINE + "polling")).text[1:])["sid"]
    path = f"{ENGINE}polling&sid={sid}"
    for answer in (
        await http.get(path, headers={"Origin": origin}),
        await http.post(path, content="40/chat,", headers={"Origin": origin}),
    ):
        assert answer.status_code == 403
    with pytest.raises(InvalidStatus):
        async with ws(gateway, f"{ENGINE}websocket&sid={sid}", origin):
            pass
    # A foreign page must not be able to end the session.
    assert (await http.post(path, content="40/chat,")).status_code == 200


# Sizes


async def test_an_oversized_message_closes_only_its_websocket(gateway: Service) -> None:
    async with ws(gateway, ENGINE + "websocket") as connection:
        await connection.recv()
        await connection.send("4" + "x" * limits.SOCKET_MESSAGE_MAX_BYTES)
        assert await until_closed(connection) == 1009
    async with ws(gateway, ENGINE + "websocket") as connection:
        await connection.recv()
        with contextlib.suppress(ConnectionClosed):
            await connection.send(["4", *("x" * 1_000 for _ in range(limits.SOCKET_MESSAGE_MAX_BYTES // 1_000 + 1))])
        assert await until_closed(connection) == 1009
    async with ws(gateway, "/ws") as connection:
        with contextlib.suppress(ConnectionClosed):
            await connection.send("x" * (limits.SOCKET_MESSAGE_MAX_BYTES + 1))
        assert await until_closed(connection) == 1009
    await still_serves(gateway)


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversized_post_is_refused_with_any_length_header(
    gateway: Service, http: httpx.AsyncClient, chunked: bool
) -> None:
    sid = json.loads((await http.get(ENGINE + "polling")).text[1:])["sid"]
    large = b"4" + b"x" * limits.SOCKET_MESSAGE_MAX_BYTES

    async def pieces() -> AsyncIterator[bytes]:
        yield large

    answer = await http.post(f"{ENGINE}polling&sid={sid}", content=pieces() if chunked else large)
    assert answer.status_code == 413
    await still_serves(gateway)


async def test_the_longest_text_is_accepted(gateway: Service, anne: Visitor) -> None:
    room = await anne.create_room()
    async with socket(gateway, anne.cookie) as chat:
        await chat.join(room)
        text = "🙂" * limits.TEXT_MAX_CHARS
        ack = await chat.call("chat", {"room": room, "client_message_id": "m1", "text": text})
        assert ack["message"]["chat"] == text


@pytest.mark.parametrize(
    ("text", "code"),
    [("\u3164\u200b", "text_empty"), ("👩‍👩‍👧" * 1_000, "text_too_long"), ("a\r\n" * 101, "text_too_many_lines")],
)
async def test_the_policy_for_texts_holds_for_a_relayed_message(
    gateway: Service, anne: Visitor, text: str, code: str
) -> None:
    room = await anne.create_room()
    async with socket(gateway, anne.cookie) as chat:
        await chat.join(room)
        refused = await chat.call("chat", {"room": room, "client_message_id": "m1", "text": text})
        assert (refused["ok"], refused["code"], refused["retry"]) == (False, code, False)
        mended = await chat.call("chat", {"room": room, "client_message_id": "m2", "text": "e\u0301\r\n\u202eb\x07"})
        assert mended["message"]["chat"] == "é\nb"


# What clients send


MALFORMED: list[Any] = [
    None,
    1,
    True,
    "",
    "x" * 24,
    [],
    {},
    {"room": None},
    {"room": {"$ne": None}},
    {"room": NO_ROOM.upper()},
    {"room": [NO_ROOM]},
    b"\x00\x01",
    {"room": b"bytes"},
    "half of a pair: \ud800",
]
MALFORMED_JOINS: list[Any] = [
    {"room": NO_ROOM, "ticket": 1},
    {"room": NO_ROOM, "ticket": ""},
    {"room": NO_ROOM, "ticket": "\ud800"},
    {"room": NO_ROOM, "position": 1},
    {"room": NO_ROOM, "position": {"epoch": "x", "seq": 1}},
    {"room": NO_ROOM, "position": {"epoch": "0" * 16, "seq": -1}},
    {"room": NO_ROOM, "position": {"epoch": "0" * 16, "seq": 2**60}},
]
MALFORMED_CHATS: list[Any] = [
    NO_ROOM,
    {"room": NO_ROOM},
    {"room": NO_ROOM, "client_message_id": "m1"},
    {"room": NO_ROOM, "client_message_id": "m1", "text": 1},
    {"room": NO_ROOM, "client_message_id": "m1", "text": "\ud800"},
    {"room": NO_ROOM, "client_message_id": "m 1", "text": "hello"},
    {"room": NO_ROOM, "client_message_id": "m1", "text": "hello", "gif": "0" * 64},
    {"room": NO_ROOM, "client_message_id": "m1", "gif": "cat.gif"},
    {"room": NO_ROOM, "client_message_id": {"$gt": ""}, "text": "hello"},
]


@pytest.mark.parametrize(
    ("event", "payloads"),
    [
        ("join", MALFORMED + MALFORMED_JOINS),
        ("chat", MALFORMED + MALFORMED_CHATS),
        ("leave", MALFORMED),
        ("typing", MALFORMED),
    ],
)
async def test_malformed_payloads_are_refused_with_an_error(gateway: Service, event: str, payloads: list[Any]) -> None:
    async with socket(gateway) as chat:
        for payload in payloads:
            ack = await chat.call(event, payload)
            assert (ack["ok"], ack["code"], ack["retry"]) == (False, "validation_failed", False), payload
            assert ack["detail"]


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
async def test_a_number_out_of_range_is_refused_and_not_echoed(gateway: Service, number: str) -> None:
    position = f'{{"room":"{NO_ROOM}","position":{{"epoch":"{"0" * 16}","seq":{number}}}}}'
    async with ws(gateway, ENGINE + "websocket") as connection:
        await connection.recv()
        await connection.send("40/chat,")
        assert str(await connection.recv()).startswith("40/chat,")
        for event in ("join", "chat", "leave", "typing"):
            for payload in (number, f"[{number}]", f'{{"room":{number}}}', position):
                await connection.send(f'42/chat,7["{event}",{payload}]')
                answer = str(await connection.recv())
                assert answer.startswith("43/chat,7[")
                [ack] = json.loads(answer.removeprefix("43/chat,7"), parse_constant=pytest.fail)
                if (event, payload) not in (("leave", position), ("typing", position)):
                    assert (ack["ok"], ack["code"]) == (False, "validation_failed"), (event, payload)


@pytest.mark.parametrize(
    "packet", ["42/chat,1[]", "42/chat,[]", "42/chat,x", "4", "45/chat,", "49/chat,", "x", "4\ud7ff"]
)
async def test_malformed_packets_do_not_affect_other_clients(gateway: Service, anne: Visitor, packet: str) -> None:
    room = await anne.create_room()
    async with socket(gateway, anne.cookie) as other, ws(gateway, ENGINE + "websocket") as connection:
        await other.join(room)
        await connection.recv()
        await connection.send("40/chat,")
        with contextlib.suppress(ConnectionClosed):
            await connection.send(packet)
        ack = await other.call("chat", {"room": room, "client_message_id": "m1", "text": "hello"})
        assert ack["ok"]
        await other.wait_for("chat", lambda message: message["chat"] == "hello")
    await still_serves(gateway)


async def test_unknown_events_and_extra_arguments_are_harmless(gateway: Service, anne: Visitor) -> None:
    room = await anne.create_room()
    async with socket(gateway, anne.cookie) as chat:
        await chat.emit("nonsense", {"x": 1})
        ack = await chat.call("join", ({"room": room}, "and", {"more": 1}))
        assert ack["ok"]


@pytest.mark.parametrize("event", ["connect", "connect_error", "disconnect", "disconnecting"])
async def test_a_client_that_sends_server_packets_loses_its_seat(
    gateway: Service, anne: Visitor, bob: Visitor, valkey_url: str, event: str
) -> None:
    room = await anne.create_room()
    environ = {"REMOTE_ADDR": "203.0.113.66", "HTTP_COOKIE": bob.cookie}
    before = len(gateway.log)
    async with socket(gateway, anne.cookie) as chat, Redis.from_url(valkey_url, decode_responses=True) as redis:
        await chat.join(room)
        await chat.emit(event, environ)
        async with asyncio.timeout(DEADLINE_S):
            while chat.connected or await redis.hget(keys.members(room), anne.who.user_id) != f"0|{anne.who.color}":
                await asyncio.sleep(0.01)
    assert "203.0.113.66" not in gateway.log[before:]
    assert bob.who.user_id not in gateway.log[before:]


async def test_a_second_connect_in_a_namespace_opens_no_second_session(
    gateway: Service, anne: Visitor, valkey_url: str
) -> None:
    room = await anne.create_room()
    async with Redis.from_url(valkey_url, decode_responses=True) as redis:
        async with ws(gateway, ENGINE + "websocket", Cookie=anne.cookie) as connection, asyncio.timeout(DEADLINE_S):
            await connection.send("40/chat,")
            await connection.send(f'42/chat,7["join","{room}"]')
            while not str(await connection.recv()).startswith("43/chat,7"):
                pass
            with contextlib.suppress(ConnectionClosed):
                await connection.send("40/chat,")
                await connection.send(f'42/chat,8["join","{room}"]')
                while not str(await connection.recv()).startswith("43/chat,8"):
                    pass
            assert await redis.hget(keys.members(room), anne.who.user_id) in (
                f"1|{anne.who.color}",
                f"0|{anne.who.color}",
            )
        async with asyncio.timeout(DEADLINE_S):
            while await redis.hgetall(keys.members(room)) != {anne.who.user_id: f"0|{anne.who.color}"}:
                await asyncio.sleep(0.01)


async def test_joining_an_unknown_room_is_refused(gateway: Service) -> None:
    async with socket(gateway) as chat:
        ack = await chat.call("join", {"room": NO_ROOM})
        assert (ack["ok"], ack["code"]) == (False, "room_not_found")
        await chat.emit("join", NO_ROOM)
        refusal = await chat.wait_for("joinRefused")
        assert (refusal["room"], refusal["code"]) == (NO_ROOM, "room_not_found")
        assert (await chat.call("leave", NO_ROOM))["ok"]


async def test_a_rate_limited_client_can_post_again_later(gateway: Service, anne: Visitor) -> None:
    room = await anne.create_room()
    async with socket(gateway, anne.cookie) as chat:
        await chat.join(room)
        acks = await asyncio.gather(*(chat.call("typing", {"room": room}) for _ in range(80)))
        refused = [ack for ack in acks if not ack["ok"]]
        assert 10 < len(refused) < 60
        assert {(ack["code"], ack["retry"]) for ack in refused} == {("rate_limited", True)}
        await asyncio.sleep(refused[0]["retry_after_s"])
        assert (await chat.call("typing", {"room": room}))["ok"]
        async with socket(gateway, anne.cookie) as other:
            await other.join(room)


# Probes


def is_now(time: str) -> bool:
    return abs(datetime.fromisoformat(time) - datetime.now(UTC)) < timedelta(seconds=DEADLINE_S)


@pytest.mark.parametrize("namespace", [CHAT_NAMESPACE, LOBBY_NAMESPACE])
async def test_a_probe_is_acked_with_the_servers_time(gateway: Service, namespace: str) -> None:
    async with socket(gateway) as chat:
        for payload in (None, {"anything": 1}):
            ack = await chat.call("probe", payload, namespace)
            assert (set(ack), ack["ok"]) == ({"ok", "time"}, True)
            assert is_now(ack["time"])


@pytest.mark.parametrize("namespace", [CHAT_NAMESPACE, LOBBY_NAMESPACE])
async def test_probes_count_against_the_connections_budget(gateway: Service, namespace: str) -> None:
    async with socket(gateway) as chat:
        acks = await asyncio.gather(*(chat.call("probe", None, namespace) for _ in range(80)))
        refused = [ack for ack in acks if not ack["ok"]]
        assert 10 < len(refused) < 60
        assert {ack["code"] for ack in refused} == {"rate_limited"}


async def test_the_ack_of_a_join_carries_the_servers_time(gateway: Service, anne: Visitor) -> None:
    room = await anne.create_room()
    async with socket(gateway, anne.cookie) as chat:
        assert is_now((await chat.join(room))["time"])


# Identity


async def you(chat: ChatSocket, room: str) -> dict[str, str]:
    known: dict[str, str] = (await chat.join(room))["you"]
    return known


async def test_each_connection_without_a_cookie_is_a_new_guest(gateway: Service, anne: Visitor) -> None:
    room = await anne.create_room()
    async with socket(gateway) as first, socket(gateway) as second:
        guests = [await you(first, room), await you(second, room), await you(first, room)]
        assert guests[0] == guests[2]
        assert guests[0]["user_id"] != guests[1]["user_id"]


@pytest.mark.parametrize(
    "cookies",
    [
        "{}",
        "theme=dark; {}; other=1",
        '{}; prefs={{"a":1,"b":[2]}}',
        'prefs={{"a":1,"b":[2]}}; {}',
        "a[b]=c; {}",
        "nonsense; {}",
        "größe=1; {}",
    ],
)
async def test_the_session_cookie_identifies_the_user_among_other_cookies(
    gateway: Service, anne: Visitor, cookies: str
) -> None:
    room = await anne.create_room()
    cookie = cookies.format(anne.cookie)
    expected = {"user_id": anne.who.user_id, "color": anne.who.color}
    async with socket(gateway, cookie.encode().decode("latin-1"), "polling") as chat:
        assert await you(chat, room) == expected
    # A raw header, because the client library would normalize it.
    async with ws(gateway, ENGINE + "websocket", Cookie=cookie) as connection:
        await connection.send("40/chat,")
        await connection.send(f'42/chat,7["join","{room}"]')
        async with asyncio.timeout(DEADLINE_S):
            while not (reply := str(await connection.recv())).startswith("43/chat,7"):
                pass
        assert json.loads(reply.removeprefix("43/chat,7"))[0]["you"] == expected


@pytest.mark.parametrize("how", [{"secret": "another"}, {"age_s": 31 * 24 * 3_600}])
async def test_a_forged_or_expired_cookie_makes_a_guest(gateway: Service, anne: Visitor, how: dict[str, Any]) -> None:
    room = await anne.create_room()
    cookie = f"{SESSION_COOKIE}={tokens.session_cookie(anne.session_id, **how)}"
    async with socket(gateway, cookie) as chat:
        assert (await you(chat, room))["user_id"] != anne.who.user_id


async def test_a_guest_who_joined_may_read_the_history(gateway: Service, anne: Visitor, system: System) -> None:
    room = await anne.create_room(password="meow")
    ticket = (await anne.ask("POST", f"/{room}/tickets", json={"password": "meow"}))["ticket"]
    async with socket(gateway, anne.cookie) as chat:
        joined = await chat.join(room, ticket=ticket)
        assert joined["membership"]
        again = await chat.call("join", {"room": room, "ticket": ticket})
        assert again["ok"], "a member needs no ticket"
    async with socket(gateway) as stranger:
        ack = await stranger.call("join", room)
        assert (ack["ok"], ack["code"]) == (False, "password_required")
        ack = await stranger.call("join", {"room": room, "ticket": ticket})
        assert (ack["ok"], ack["code"]) == (False, "ticket_invalid")


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (None, "127.0.0.1"),
        ("203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1, 203.0.113.9", "203.0.113.9"),
    ],
)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_the_address_is_the_one_that_our_proxy_saw(
    gateway: Service, forwarded: str | None, expected: str, transport: str
) -> None:
    headers = {"User-Agent": "test"} | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
    client: Any = socketio.AsyncClient(reconnection=False)
    before = len(gateway.log)
    await client.connect(gateway.url, headers=headers, transports=[transport], namespaces=[CHAT_NAMESPACE])
    lines = [json.loads(line) for line in gateway.log[before:].splitlines()]
    assert [line["address"] for line in lines if line["event"] == "connected"] == [expected]
    await client.disconnect()


async def test_no_secret_is_logged(gateway: Service, anne: Visitor) -> None:
    room = await anne.create_room(password="meow-meow-meow")
    ticket = (await anne.ask("POST", f"/{room}/tickets", json={"password": "meow-meow-meow"}))["ticket"]
    async with socket(gateway, anne.cookie) as chat:
        joined = await chat.join(room, ticket=ticket)
    for secret in (ticket, joined["membership"], anne.session_id, anne.cookie.partition("=")[2]):
        assert secret not in gateway.log


# The original's demo and lobby


async def test_the_demo_sends_a_message_every_three_seconds(gateway: Service) -> None:
    async with (
        ws(gateway, ENGINE + "websocket") as listener,
        ws(gateway, "/ws") as plain,
        ws(gateway, "/ws") as other,
        asyncio.timeout(DEADLINE_S),
    ):
        await listener.send("40")
        await listener.send('42["reply",{"any":["data"]}]')
        await plain.send(b"\x00\x01")
        while str(await listener.recv()) != '42["news","Hello Socket.IO"]':
            pass
        status = json.loads(await plain.recv())
        assert status["node"] == "shared"
        assert status["online"] >= 3, "one over Socket.IO and two over WebSocket"
        assert status["time"].endswith("Z")
        assert json.loads(await other.recv()) == status


async def test_the_lobby_gets_changes_of_rooms(gateway: Service, anne: Visitor) -> None:
    async with socket(gateway) as visitor:
        room = await anne.create_room(title="고양이", password="meow")
        new = await visitor.wait_for("newRoom", lambda payload: payload["_id"] == room)
        assert (new["title"], new["private"]) == ("고양이", True)
        assert "meow" not in json.dumps(new)
        async with socket(gateway, anne.cookie) as owner:
            await owner.join(room)
            await visitor.wait_for("occupancy", lambda members: members.get(room) == 1)
        await anne.ask("DELETE", f"/{room}")
        assert await visitor.wait_for("removeRoom", lambda removed: removed == room) == room


# Several nodes


async def test_messages_and_kicks_reach_members_on_other_nodes(
    system: System, gateway: Service, anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    with system.gateway("second") as second:
        async with socket(gateway, anne.cookie) as owner, socket(second, bob.cookie, "polling") as guest:
            await owner.join(room)
            await guest.emit("join", room)
            assert (await owner.wait_for("join"))["user_id"] == bob.who.user_id
            await owner.call("chat", {"room": room, "client_message_id": "m1", "text": "안녕"})
            for member in (owner, guest):
                assert (await member.wait_for("chat"))["chat"] == "안녕"

            await anne.ask("POST", f"/{room}/kicks", json={"user_id": bob.who.user_id})
            assert (await guest.wait_for("sanction"))["code"] == "kicked"
            assert (await owner.wait_for("exit"))["user_id"] == bob.who.user_id
            ack = await guest.call("chat", {"room": room, "client_message_id": "m2", "text": "?"})
            assert ack["code"] == "not_a_member"


async def test_a_client_that_returns_on_another_node_gets_missed_messages(
    system: System, gateway: Service, anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    with system.gateway("second") as second:
        async with socket(gateway, anne.cookie) as owner, AsyncExitStack() as stack:
            await owner.join(room)
            guest = await stack.enter_async_context(socket(gateway, bob.cookie))
            position = (await guest.join(room))["position"]
            await stack.aclose()
            for number in range(5):
                await owner.call("chat", {"room": room, "client_message_id": f"m{number}", "text": str(number)})
            async with socket(second, bob.cookie) as back:
                joined = await back.join(room, position=position)
                assert joined["recovered"]
                assert [item["data"]["chat"] for item in joined["recent"]] == ["0", "1", "2", "3", "4"]
                assert joined["occupancy"] == 2
            assert [entry for entry in owner.received if entry.event == "exit"] == []


# Stopping


async def test_a_stopping_node_moves_its_clients_and_keeps_their_seats(
    system: System, valkey_url: str, anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    with system.gateway("stopping", DRAIN_SECONDS="2") as stopping, system.gateway("staying") as staying:
        async with (
            socket(stopping, anne.cookie) as over_websocket,
            socket(stopping, bob.cookie, "polling") as polling,
            ws(stopping, "/ws") as plain,
            httpx.AsyncClient(base_url=stopping.url) as http,
            Redis.from_url(valkey_url, decode_responses=True) as redis,
        ):
            await over_websocket.join(room)
            await polling.join(room)
            stopping.send(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE_S):
                while (await http.get("/health/ready")).status_code == 200:
                    await asyncio.sleep(0.01)

            assert (await http.get("/health/live")).status_code == 200
            refused = await http.get(ENGINE + "polling")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["code"] == "node_draining"
            for path in (ENGINE + "websocket", "/ws"):
                with pytest.raises(InvalidStatus) as refusal:
                    async with ws(stopping, path):
                        pass
                assert refusal.value.response.status_code == 503, path

            async with asyncio.timeout(DEADLINE_S):
                while over_websocket.connected or polling.connected:
                    await asyncio.sleep(0.01)
            assert await until_closed(plain) == 1001
            assert await asyncio.to_thread(stopping.wait) == 0

            seats = await redis.hgetall(keys.members(room))
            assert seats == {
                anne.who.user_id: f"0|{anne.who.color}",
                bob.who.user_id: f"0|{bob.who.color}",
            }
            assert await redis.smembers(keys.nodes(room)) == set()
        async with socket(staying, anne.cookie) as back:
            assert (await back.join(room))["occupancy"] == 2


async def test_a_second_signal_stops_immediately(system: System) -> None:
    with system.gateway("impatient", DRAIN_SECONDS="60") as impatient:
        async with socket(impatient), socket(impatient):
            impatient.send(signal.SIGTERM)
            async with httpx.AsyncClient(base_url=impatient.url) as http, asyncio.timeout(DEADLINE_S):
                while (await http.get("/health/ready")).status_code == 200:
                    await asyncio.sleep(0.01)
            impatient.send(signal.SIGINT)
            async with asyncio.timeout(DEADLINE_S):
                assert await asyncio.to_thread(impatient.wait) == 0


@pytest.mark.parametrize("token", [None, "Bearer", "Bearer another", DEVELOPMENT_TOKEN])
@pytest.mark.parametrize("path", ["/internal/v1/drain", "/internal/v1/shed"])
async def test_operator_routes_require_the_token(
    gateway: Service, http: httpx.AsyncClient, path: str, token: str | None
) -> None:
    headers = {} if token is None else {"Authorization": token}
    answer = await http.post(path, json={"share": 1.0}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "internal_only")
    assert (await http.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    "content", [b"", b"x", b"[]", b'{"share":0}', b'{"share":1.5}', b'{"share":true}', b'{"share":"1"}']
)
async def test_an_invalid_share_is_refused(http: httpx.AsyncClient, content: bytes) -> None:
    headers = {"Authorization": f"Bearer {DEVELOPMENT_TOKEN}"}
    answer = await http.post("/internal/v1/shed", content=content, headers=headers)
    assert answer.status_code in (400, 422)


async def test_a_node_sheds_a_share_of_its_clients_and_continues(system: System) -> None:
    headers = {"Authorization": f"Bearer {DEVELOPMENT_TOKEN}"}
    with system.gateway("shedding", DRAIN_SECONDS="0.2") as shedding:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=shedding.url))
            clients = [await stack.enter_async_context(socket(shedding)) for _ in range(10)]
            assert (await http.get("/health/ready")).json()["sockets"] == 10
            answer = await http.post("/internal/v1/shed", json={"share": 0.3}, headers=headers)
            assert answer.status_code == 202
            async with asyncio.timeout(DEADLINE_S):
                while sum(client.connected for client in clients) > 7:
                    await asyncio.sleep(0.01)
            ready = await http.get("/health/ready")
            assert (ready.status_code, ready.json()["sockets"]) == (200, 7)
            # The sticky cookie would route a moved client back to this node.
            refused = await http.get("/socket.io/?EIO=4&transport=polling")
            assert (refused.status_code, refused.json()["code"]) == (503, "node_draining")
            async with asyncio.timeout(DEADLINE_S):
                while (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 503:
                    await asyncio.sleep(0.05)
        await still_serves(shedding)


async def test_metrics_are_exported(http: httpx.AsyncClient) -> None:
    await http.get("/health/live")
    text = (await http.get("/metrics")).text
    for name in ("gateway_sockets", "gateway_hosted_rooms", "gateway_refused_total"):
        assert f"\n# TYPE {name} " in text
    labels = 'method="GET",route="/health/live",service="realtime-gateway",status="200"'
    assert f"\nhttp_requests_total{{{labels}}}" in text
    assert "/internal/v1/relay" not in text


# What one client may cost


async def internal_requests(system: System) -> float:
    """Return how often a gateway has asked rooms-api for a room."""
    async with httpx.AsyncClient(base_url=system.rooms_api.url, timeout=DEADLINE_S) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("http_requests_total{") and "/internal/v1/rooms/{" in line
    )


async def test_joins_of_an_unknown_room_ask_rooms_api_once(system: System, gateway: Service) -> None:
    before = await internal_requests(system)
    async with socket(gateway) as chat:
        room = str(ObjectId())
        for _ in range(20):
            assert (await chat.call("join", {"room": room}))["code"] == "room_not_found"
    assert await internal_requests(system) - before == 2


async def test_a_client_that_joins_many_unknown_rooms_is_slowed_down_and_closed(system: System) -> None:
    with system.gateway("unknown-rooms", OVERSPENDING_SECONDS="1", CLIENT_PACKETS_PER_SECOND="10") as service:
        before = await internal_requests(system)
        async with ws(service, ENGINE + "websocket") as connection:
            await connection.recv()
            await connection.send("40/chat,")
            with contextlib.suppress(ConnectionClosed):
                for number in range(35):
                    await connection.send(f'42/chat,{number}["join","{ObjectId()}"]')
            assert await until_closed(connection) == 4029
        # 200 packets at once pay for 4 such joins.
        assert 2 * 3 <= await internal_requests(system) - before <= 2 * 6
        # Guests of this address have to wait now. Others do not.
        async with socket(service, Visitor(system).cookie):
            pass


async def test_a_client_may_join_many_rooms_at_once(system: System, anne: Visitor) -> None:
    rooms = [await anne.create_room() for _ in range(3)]
    with system.gateway("many-joins", CLIENT_PACKETS_PER_SECOND="0.1", OVERSPENDING_SECONDS="5") as service:
        async with socket(service, anne.cookie) as chat:
            for number in range(30):
                await chat.join(rooms[number % 3])


async def test_a_muted_members_typing_is_not_shown(
    gateway: Service, system: System, anne: Visitor, bob: Visitor
) -> None:
    carol, room = Visitor(system), await anne.create_room()
    async with (
        socket(gateway, anne.cookie) as reader,
        socket(gateway, bob.cookie) as muted,
        socket(gateway, carol.cookie) as other,
    ):
        for chat in (reader, muted, other):
            await chat.join(room)
        await anne.ask("PUT", f"/{room}/mutes/{bob.who.user_id}", json={})
        await muted.wait_for("sanction")
        assert (await muted.call("typing", {"room": room}))["ok"]
        await other.call("typing", {"room": room})
        await reader.wait_for("typing")
        assert [entry.data["user_id"] for entry in reader.received if entry.event == "typing"] == [carol.who.user_id]
