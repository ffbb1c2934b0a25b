"""A client that reconnects with its `pid` is restored to its rooms, on any gateway."""

import asyncio
import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from gifchat_contracts import keys
from gifchat_contracts.ids import Pid
from gifchat_testkit.gateway_system import DEADLINE_S, System, Visitor, running_system
from gifchat_testkit.raw_chat import RawChat, raw_chat
from gifchat_testkit.services import Service

pytestmark = pytest.mark.servers

GRACE_S = 3.0
CLOSE = "1"
"""The Engine.IO packet that closes the connection."""


@pytest.fixture(scope="module")
def system(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(mongo_url, valkey_url, tmp_path_factory.mktemp("restore")) as system:
        yield system


@pytest.fixture(scope="module")
def gateways(system: System) -> Iterator[tuple[Service, Service]]:
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(system.gateway(name, SEAT_GRACE=str(GRACE_S))) for name in ("restore-1", "restore-2")
        )
        yield one, two


@pytest.fixture
def anne(system: System) -> Visitor:
    return Visitor(system)


@pytest.fixture
def bob(system: System) -> Visitor:
    return Visitor(system)


async def wait_until_saved(gateway: Service, pid: str, *, there: bool = True) -> None:
    """Wait until Redis has the saved session; with `there=False`, until it is deleted."""
    async with asyncio.timeout(DEADLINE_S), Redis.from_url(gateway.environment["REDIS_URL"]) as redis:
        while bool(await redis.exists(keys.saved_session(Pid(pid)))) != there:
            await asyncio.sleep(0.02)


async def post(visitor: Visitor, chat: RawChat, room: str, key: str) -> dict[str, Any]:
    """Post a message as the visitor. Returns it once it is stored."""
    ack = await chat.call("chat", {"room": room, "client_message_id": key, "text": key})
    assert ack["ok"], ack
    message: dict[str, Any] = ack["message"]
    return message


async def test_a_client_is_restored_on_another_gateway_and_misses_no_message(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    one, two = gateways
    room, left = await anne.create_room(), await anne.create_room()
    async with raw_chat(two.url, anne.cookie) as anne_chat:
        await anne_chat.call("join", room)
        async with raw_chat(one.url, bob.cookie) as before:
            assert (await before.call("join", room))["ok"]
            assert (await before.call("join", left))["ok"]
            assert (await before.call("leave", {"room": left}))["ok"]
            await post(anne, anne_chat, room, "seen")
            await before.event("chat")
            pid = before.opened["pid"]
            before.cut()
        await asyncio.sleep(0.5)
        await post(anne, anne_chat, room, "missed-1")
        await post(anne, anne_chat, room, "missed-2")
        async with raw_chat(two.url, bob.cookie, {"pid": pid}) as after:
            await post(anne, anne_chat, room, "live")
            received = await after.event("chat", 3)
            assert [message["chat"] for message in received] == ["missed-1", "missed-2", "live"]
            assert after.of("resync") == []
            assert await post(bob, after, room, "from-bob")
            assert not (await after.call("chat", {"room": left, "client_message_id": "x", "text": "x"}))["ok"]
        assert anne_chat.of("exit") == [], "bob never disconnected"


async def join_and_disconnect(
    gateway: Service, visitor: Visitor | None, room: str, *, how: str = "cut"
) -> tuple[str, dict[str, Any]]:
    """Connect a client, join a room and disconnect. Returns its private id and the ack of the join."""
    async with raw_chat(gateway.url, visitor.cookie if visitor else None) as chat:
        ack = await chat.call("join", room)
        assert ack["ok"], ack
        await wait_until_saved(gateway, chat.opened["pid"])
        if how == "cut":
            chat.cut()
        else:
            await chat.send_packet(how)
        pid: str = chat.opened["pid"]
    return pid, ack


async def is_member(chat: RawChat, room: str) -> bool:
    """Whether the client is a member of the room: only members may post."""
    key = secrets.token_hex(8)
    ack: dict[str, Any] = await chat.call("chat", {"room": room, "client_message_id": key, "text": key})
    assert ack["ok"] or ack["code"] == "not_a_member", ack
    return bool(ack["ok"])


async def test_a_client_that_sends_its_position_keeps_its_pid_and_gets_missed_messages(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    one, two = gateways
    room = await anne.create_room()
    pid, ack = await join_and_disconnect(one, bob, room)
    async with raw_chat(two.url, anne.cookie) as anne_chat:
        await anne_chat.call("join", room)
        await post(anne, anne_chat, room, "missed")
    auth = {"pid": pid, "offset": "whatever", "positions": {room: ack["position"], "x": 1}}
    async with raw_chat(one.url, bob.cookie, auth) as after:
        assert after.opened["pid"] == pid, "the official client is `recovered`"
        assert [message["chat"] for message in await after.event("chat")] == ["missed"]
        await wait_until_saved(one, pid)
        after.cut()
    async with raw_chat(two.url, bob.cookie, {"pid": pid}) as again:
        assert await is_member(again, room), "the new session is saved under the same id"
        assert again.opened["pid"] != pid, "its position is unknown"


async def test_after_a_gateway_is_killed_its_clients_are_restored_with_resync(
    system: System, gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    with system.gateway("restore-killed", SEAT_GRACE=str(GRACE_S)) as killed:
        async with raw_chat(killed.url, bob.cookie) as before:
            await before.call("join", room)
            await wait_until_saved(killed, before.opened["pid"])
            pid = before.opened["pid"]
            killed.send(signal.SIGKILL)
    async with raw_chat(gateways[0].url, bob.cookie, {"pid": pid}) as after:
        assert await is_member(after, room)
        assert [event["room"] for event in await after.event("resync")] == [room]


async def test_a_user_kicked_or_banned_meanwhile_is_not_restored(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    one, two = gateways
    for sanction, code in (
        (("POST", "/kicks", {"user_id": bob.who.user_id}), "kicked"),
        (("PUT", f"/bans/{bob.who.user_id}", {"seconds": 60}), "banned"),
    ):
        room = await anne.create_room()
        pid, _ = await join_and_disconnect(one, bob, room)
        await anne.ask(sanction[0], f"/{room}{sanction[1]}", json=sanction[2])
        async with raw_chat(two.url, bob.cookie, {"pid": pid}) as after:
            refused = (await after.event("joinRefused"))[0]
            assert (refused["room"], refused["code"]) == (room, code)
            assert not await is_member(after, room)


async def test_a_kick_before_the_disconnect_is_not_undone(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    one, two = gateways
    room, other = await anne.create_room(), await anne.create_room()
    async with raw_chat(one.url, bob.cookie) as before:
        await before.call("join", room)
        await before.call("join", other)
        await anne.ask("POST", f"/{room}/kicks", json={"user_id": bob.who.user_id})
        await before.event("sanction")
        await wait_until_saved(one, before.opened["pid"])
        pid = before.opened["pid"]
        before.cut()
    async with raw_chat(two.url, bob.cookie, {"pid": pid}) as after:
        assert await is_member(after, other)
        assert not await is_member(after, room)


async def test_a_room_with_a_new_password_refuses_the_restored_session(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    one, two = gateways
    room = await anne.create_room()
    pid, _ = await join_and_disconnect(one, bob, room)
    await anne.ask("PATCH", f"/{room}", json={"password": "sesame"})
    async with raw_chat(two.url, bob.cookie, {"pid": pid}) as after:
        assert (await after.event("joinRefused"))[0]["code"] == "password_required"


async def test_a_session_that_the_client_disconnected_is_not_restored(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    pid, _ = await join_and_disconnect(gateways[0], bob, room, how="41/chat,")
    await wait_until_saved(gateways[0], pid, there=False)
    async with raw_chat(gateways[1].url, bob.cookie, {"pid": pid}) as after:
        assert not await is_member(after, room)


async def test_a_session_whose_client_only_closed_the_transport_is_restored(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    pid, _ = await join_and_disconnect(gateways[0], bob, room, how=CLOSE)
    async with raw_chat(gateways[1].url, bob.cookie, {"pid": pid}) as after:
        assert await is_member(after, room)


async def test_a_closed_session_is_deleted_before_the_same_gateway_restores_it(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    for _ in range(5):
        async with raw_chat(gateways[0].url, bob.cookie) as chat:
            await chat.call("join", room)
            pid = chat.opened["pid"]
            await chat.send_packet("41/chat,")
            await chat.send_packet("40/chat," + json.dumps({"pid": pid}))
            assert not await is_member(chat, room)


async def test_only_its_own_user_can_use_a_pid_and_only_once(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    one, two = gateways
    room = await anne.create_room()
    pid, _ = await join_and_disconnect(one, bob, room)
    for cookie in (anne.cookie, None):
        async with raw_chat(two.url, cookie, {"pid": pid}) as stranger:
            assert stranger.opened["pid"] != pid
            assert not await is_member(stranger, room)
    async with (
        raw_chat(one.url, bob.cookie, {"pid": pid}) as first,
        raw_chat(two.url, bob.cookie, {"pid": pid}) as second,
    ):
        assert await is_member(first, room)
        assert not await is_member(second, room)


async def test_a_restored_guest_is_the_same_guest(gateways: tuple[Service, Service], anne: Visitor) -> None:
    room = await anne.create_room()
    pid, ack = await join_and_disconnect(gateways[0], None, room)
    async with raw_chat(gateways[1].url, None, {"pid": pid}) as after:
        assert await is_member(after, room)
        assert (await after.call("join", room))["you"] == ack["you"]


async def test_a_session_is_not_restored_after_the_grace_period(
    gateways: tuple[Service, Service], anne: Visitor, bob: Visitor
) -> None:
    room = await anne.create_room()
    pid, _ = await join_and_disconnect(gateways[0], bob, room)
    await wait_until_saved(gateways[0], pid, there=False)
    async with raw_chat(gateways[1].url, bob.cookie, {"pid": pid}) as after:
        assert after.opened["pid"] != pid
        assert not await is_member(after, room)


async def test_a_client_can_opt_out_with_restore_false(gateways: tuple[Service, Service], anne: Visitor) -> None:
    async with raw_chat(gateways[0].url, anne.cookie, {"restore": False}) as chat:
        assert "pid" not in chat.opened
    odd_ones: list[dict[str, Any]] = [
        {"pid": 1},
        {"pid": "x" * 20, "positions": []},
        {"pid": None, "positions": {"a": {}}},
    ]
    for odd in odd_ones:
        async with raw_chat(gateways[0].url, anne.cookie, odd) as chat:
            assert len(chat.opened["pid"]) == 20
