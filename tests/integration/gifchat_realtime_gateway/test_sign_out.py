"""A user signs out: the sockets of the session close on every gateway, and no gateway takes the session again."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import websockets
from pymongo import MongoClient
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gifchat_testkit.gateway_system import DEADLINE_S, System, Visitor, running_system
from gifchat_testkit.services import Service

pytestmark = pytest.mark.servers

PATH = "/socket.io/?EIO=4&transport="
WITHIN_S = 5.0
SESSION_REVOKED = 4001


@pytest.fixture(scope="module")
def system(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(mongo_url, valkey_url, tmp_path_factory.mktemp("sign-out")) as system:
        yield system


@pytest.fixture(scope="module")
def gateways(system: System) -> Iterator[list[Service]]:
    with system.gateway("one") as one, system.gateway("two") as two:
        yield [one, two]


async def sign_out(system: System, visitor: Visitor) -> None:
    async with httpx.AsyncClient(headers={"Cookie": visitor.cookie}, timeout=DEADLINE_S) as client:
        answer = await client.delete(f"{system.rooms_api.url}/api/v1/session")
        assert answer.status_code == 204, answer.text


def connect(gateway: Service, cookie: str) -> Any:
    url = gateway.url.replace("http", "ws", 1) + PATH + "websocket"
    return websockets.connect(url, additional_headers={"Cookie": cookie}, compression=None)


async def opened(connection: ClientConnection, namespace: str) -> None:
    await connection.send(f"40{namespace},")
    while not str(await connection.recv()).startswith(f"40{namespace},"):
        pass


async def until_closed(connection: ClientConnection) -> tuple[list[str], int | None]:
    """Return the messages until the connection closes, and the code."""
    messages: list[str] = []
    async with asyncio.timeout(WITHIN_S):
        try:
            while True:
                messages.append(str(await connection.recv()))
        except ConnectionClosed as closed:
            return messages, closed.rcvd.code if closed.rcvd else None


async def test_the_sockets_of_the_session_close_with_a_code_on_every_gateway(
    system: System, gateways: list[Service]
) -> None:
    anne, bob = Visitor(system), Visitor(system)
    room = await bob.create_room()
    async with (
        connect(gateways[0], anne.cookie) as member,
        connect(gateways[1], anne.cookie) as in_the_lobby,
        connect(gateways[0], bob.cookie) as other,
        asyncio.timeout(2 * DEADLINE_S),
    ):
        await opened(member, "/chat")
        await member.send(f'42/chat,1["join",{{"room":"{room}"}}]')
        while not str(await member.recv()).startswith("43/chat,1"):
            pass
        await opened(in_the_lobby, "/room")
        await opened(other, "/chat")
        await sign_out(system, anne)

        messages, code = await until_closed(member)
        assert code == SESSION_REVOKED
        event, refusal = json.loads(messages[-1].removeprefix("42/chat,"))
        assert (event, refusal["room"], refusal["code"], refusal["retry"]) == (
            "joinRefused",
            room,
            "session_revoked",
            False,
        )
        assert (await until_closed(in_the_lobby))[1] == SESSION_REVOKED
        await other.send('42/chat,2["probe"]')
        while not str(await other.recv()).startswith("43/chat,2"):
            pass


async def test_no_gateway_opens_a_connection_for_the_session(system: System, gateways: list[Service]) -> None:
    anne = Visitor(system)
    await sign_out(system, anne)
    async with httpx.AsyncClient(headers={"Cookie": anne.cookie}, timeout=DEADLINE_S) as client:
        for gateway in gateways:
            async with asyncio.timeout(WITHIN_S):
                while (answer := await client.get(gateway.url + PATH + "polling")).status_code == 200:
                    await asyncio.sleep(0.02)
            assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")
            with pytest.raises(InvalidStatus) as refused:
                async with connect(gateway, anne.cookie):
                    pass
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body or b"")["code"] == "session_revoked"


async def test_a_polling_client_is_told_to_stop(system: System, gateways: list[Service]) -> None:
    anne = Visitor(system)
    async with httpx.AsyncClient(headers={"Cookie": anne.cookie}, timeout=DEADLINE_S) as client:
        url = gateways[0].url + PATH + "polling"
        sid = json.loads((await client.get(url)).text[1:])["sid"]
        url = f"{url}&sid={sid}"
        assert (await client.post(url, content="40/room,")).text == "ok"
        assert "40/room," in (await client.get(url)).text
        await sign_out(system, anne)
        async with asyncio.timeout(WITHIN_S):
            # Events may come first. The last packet is Engine.IO's CLOSE.
            while "1" not in (await client.get(url)).text.split("\x1e"):
                pass
        assert (await client.get(url)).status_code in (400, 401)


async def test_a_gateway_that_missed_the_event_reads_the_revocation(
    system: System, gateways: list[Service], mongo_url: str
) -> None:
    anne = Visitor(system)
    async with connect(gateways[0], anne.cookie) as connection:
        await opened(connection, "/chat")
        with MongoClient[dict[str, Any]](mongo_url) as mongo:
            database = mongo[system.rooms_api.environment["MONGO_DATABASE"]]
            database["revoked_sessions"].insert_one({"_id": anne.who.user_id, "at": datetime.now(UTC)})
        assert (await until_closed(connection))[1] == SESSION_REVOKED


async def test_a_gateway_knows_earlier_revocations_when_it_starts(system: System) -> None:
    anne = Visitor(system)
    await sign_out(system, anne)
    with system.gateway("later") as gateway:
        async with httpx.AsyncClient(headers={"Cookie": anne.cookie}) as client, asyncio.timeout(WITHIN_S):
            while (await client.get(gateway.url + PATH + "polling")).status_code != 401:
                await asyncio.sleep(0.02)
