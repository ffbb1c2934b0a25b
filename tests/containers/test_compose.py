"""`docker compose up --wait --scale realtime-gateway=3` as users, operators and auditors see it.

The tests of this file share one stack and run in order; the last one stops it.
"""

import asyncio
import io
import json
import time
from contextlib import AsyncExitStack

import httpx
import pytest
from PIL import Image
from socketio.exceptions import ConnectionError as SocketConnectionError

from gifchat_testkit.clients import ChatSocket, chat_socket, cookie_header, visitor
from gifchat_testkit.containers import ComposeStack, Inspected, docker, wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1_200)]

OURS = {"nginx", "web", "realtime-gateway", "rooms-api"}
UNPRIVILEGED_UID = "10001"
KILLED = 128 + 9


def service_of(container: Inspected) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def sockets_by_gateway(stack: ComposeStack) -> dict[str, int]:
    """Return the number of sockets by container id."""
    gateways = stack.containers("realtime-gateway")
    return {gateway["Id"]: stack.ask(gateway, "/health/ready")["sockets"] for gateway in gateways}


def tiny_gif() -> bytes:
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "green", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0)
    return stream.getvalue()


async def new_room(client: httpx.AsyncClient, title: str) -> str:
    answer = await client.post("/api/v1/rooms", json={"title": title, "max": 50})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["_id"])


async def enter(stack: ComposeStack, running: AsyncExitStack, room: str) -> tuple[ChatSocket, httpx.AsyncClient]:
    """Join the room as a new visitor; the returned client can post messages."""
    client = await running.enter_async_context(visitor(stack.url))
    socket = await running.enter_async_context(chat_socket(stack.url, cookie_header(client)))
    ack = await socket.join(room)
    client.headers["X-Room-Membership"] = ack["membership"]
    return socket, client


async def enter_again(stack: ComposeStack, running: AsyncExitStack, client: httpx.AsyncClient) -> ChatSocket:
    """Open a new socket for a visitor, and retry as every client does.

    nginx waits for a removed container as long as its name resolves. When the name stops resolving, waiting requests
    get 502.
    """
    deadline = time.monotonic() + 15
    while True:
        try:
            return await running.enter_async_context(chat_socket(stack.url, cookie_header(client)))
        except SocketConnectionError:
            assert time.monotonic() < deadline, "no gateway accepts the visitor"
            await asyncio.sleep(0.1)


def test_everything_is_healthy(stack: ComposeStack) -> None:
    states = {c["Name"]: c["State"]["Health"]["Status"] for c in stack.containers() if c["State"].get("Health")}
    assert set(states.values()) == {"healthy"}, states
    assert len(stack.containers("realtime-gateway")) == 3


def test_a_gateway_relays_to_the_container_that_holds_the_session(stack: ComposeStack) -> None:
    polling = "/socket.io/?EIO=4&transport=polling"
    owner, other, *_ = stack.containers("realtime-gateway")
    sid = json.loads(stack.get(owner, polling)[1:])["sid"]
    assert httpx.post(f"{stack.url}{polling}&sid={sid}", content="40/room,").text == "ok"
    assert stack.get(other, f"{polling}&sid={sid}").startswith('40/room,{"sid":')


def test_nginx_serves_pages_and_errors(stack: ComposeStack) -> None:
    with httpx.Client(base_url=stack.url) as client:
        assert client.get("/").status_code == 200
        assert client.get("/room").status_code == 200
        assert client.get("/api/v1/openapi.json").status_code == 200
        missing = client.get(f"/api/v1/rooms/{'0' * 24}")
        assert (missing.status_code, missing.json()["code"]) == (404, "room_not_found")
        for inside in ("/internal/v1/heads", "/metrics"):
            assert client.get(inside).status_code == 404


async def test_a_message_and_a_gif_reach_everyone_on_every_gateway(stack: ComposeStack) -> None:
    async with AsyncExitStack() as running:
        owner = await running.enter_async_context(visitor(stack.url))
        room = await new_room(owner, "컨테이너")
        people = [await enter(stack, running, room) for _ in range(6)]
        spread = sockets_by_gateway(stack)
        assert min(spread.values()) >= 1, f"nginx left a gateway out: {spread}"

        writer, client = people[0]
        sent = await writer.call("chat", {"room": room, "client_message_id": "text-1", "text": "안녕하세요"})
        assert sent["ok"], sent
        gif = tiny_gif()
        uploaded = await client.post(f"/api/v1/rooms/{room}/gifs", files={"gif": ("x.gif", gif, "image/gif")})
        assert uploaded.status_code == 201, uploaded.text
        posted = await client.post(
            f"/api/v1/rooms/{room}/messages", json={"client_message_id": "gif-1", "gif": uploaded.json()["id"]}
        )
        assert posted.status_code == 201, posted.text

        for socket, _ in people:
            text = await socket.wait_for("chat", lambda message: message.get("chat") == "안녕하세요")
            shown = await socket.wait_for("chat", lambda message: "gif" in message)
            assert (text["seq"], shown["seq"]) == (1, 2)

        served = await client.get(uploaded.json()["url"])
        assert served.status_code == 200
        assert served.headers["content-type"] == "image/gif"
        assert "must-revalidate" in served.headers["cache-control"]
        assert Image.open(io.BytesIO(served.content)).size == (8, 6)
        still = await client.get(uploaded.json()["still_url"])
        assert (still.status_code, still.headers["content-type"]) == (200, "image/png")


async def test_a_room_never_has_more_members_than_seats_across_gateways(stack: ComposeStack) -> None:
    async with AsyncExitStack() as running:
        owner = await running.enter_async_context(visitor(stack.url))
        answer = await owner.post("/api/v1/rooms", json={"title": "둘만", "max": 2})
        room = answer.json()["_id"]
        acks = []
        for _ in range(5):
            client = await running.enter_async_context(visitor(stack.url))
            socket = await running.enter_async_context(chat_socket(stack.url, cookie_header(client)))
            acks.append(await socket.call("join", {"room": room}))
        assert [ack["ok"] for ack in acks] == [True, True, False, False, False]
        assert {ack["code"] for ack in acks[2:]} == {"room_full"}


async def test_a_client_cannot_forge_its_address(stack: ComposeStack) -> None:
    async with visitor(stack.url) as client:
        await client.get("/", headers={"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7"})
    assert "198.51.100.7" not in stack.logs("nginx", "web")


def test_containers_have_restricted_privileges_and_resources(stack: ComposeStack) -> None:
    for container in stack.containers():
        service, host = service_of(container), container["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service
        published = [port for port, where in container["NetworkSettings"]["Ports"].items() if where]
        assert published == (["8080/tcp"] if service == "nginx" else []), service
        assert not [mount for mount in container["Mounts"] if mount["Type"] == "bind"], service


def test_services_run_as_an_unprivileged_user(stack: ComposeStack) -> None:
    for container in (c for c in stack.containers() if service_of(c) in OURS):
        uid = docker("exec", container["Id"], "id", "-u").stdout.strip()
        assert uid == UNPRIVILEGED_UID, service_of(container)
        written = docker("exec", container["Id"], "sh", "-c", "touch /opt/here 2>&1 || echo refused").stdout
        assert "refused" in written, service_of(container)


def test_no_image_contains_a_secret(stack: ComposeStack) -> None:
    for container in (c for c in stack.containers() if service_of(c) in OURS):
        image = docker("inspect", "--format", "{{json .Config.Env}}", container["Image"]).stdout
        assert "SECRET" not in image, service_of(container)
        assert "TOKEN" not in image, service_of(container)


@pytest.mark.parametrize("service", ["web", "rooms-api", "realtime-gateway"])
def test_production_refuses_development_secrets(stack: ComposeStack, service: str) -> None:
    answer = docker("run", "--rm", "--env", "ENVIRONMENT=production", f"gifchat/{service}:test")
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr


async def test_clients_of_a_restarting_gateway_rejoin_without_a_gap(stack: ComposeStack) -> None:
    async with AsyncExitStack() as running:
        owner = await running.enter_async_context(visitor(stack.url))
        room = await new_room(owner, "다시")
        people = [await enter(stack, running, room) for _ in range(6)]
        gateway = max(sockets_by_gateway(stack).items(), key=lambda entry: entry[1])[0]

        # The gateway exits with code 0 before Docker kills it.
        stopped = await asyncio.to_thread(docker, "stop", "-t", "30", gateway)
        assert stopped.returncode == 0, stopped.stderr
        state = next(c["State"] for c in stack.containers("realtime-gateway") if c["Id"] == gateway)
        assert state["ExitCode"] == 0

        await wait_until(lambda: any(not socket.connected for socket, _ in people), "a lost connection")
        staying = [(socket, client) for socket, client in people if socket.connected]
        gone = [client for socket, client in people if not socket.connected]
        assert staying, "all visitors were on one gateway"
        sent = await staying[0][0].call("chat", {"room": room, "client_message_id": "meanwhile", "text": "아직 있어요"})
        assert sent["ok"], sent
        for socket, _ in staying:
            await socket.wait_for("chat", lambda message: message["client_message_id"] == "meanwhile")

        client = gone[0]
        back = await enter_again(stack, running, client)
        ack = await back.join(room, position={"epoch": sent["message"]["epoch"], "seq": 0})
        assert [entry["data"]["client_message_id"] for entry in ack["recent"]] == ["meanwhile"]

        assert docker("start", gateway).returncode == 0
        await wait_until(
            lambda: all(c["State"]["Health"]["Status"] == "healthy" for c in stack.containers("realtime-gateway")),
            "the gateway is healthy again",
        )


async def test_nginx_finds_a_new_gateway(stack: ComposeStack) -> None:
    stack.up(gateways=4)
    assert len(stack.containers("realtime-gateway")) == 4

    async def is_used() -> bool:
        async with AsyncExitStack() as running:
            for _ in range(8):
                await running.enter_async_context(chat_socket(stack.url))
            return min(sockets_by_gateway(stack).values()) >= 1

    deadline = time.monotonic() + 20
    while not await is_used():
        assert time.monotonic() < deadline, "nginx did not find the fourth gateway"


async def test_every_service_stops_gracefully(stack: ComposeStack) -> None:
    async with AsyncExitStack() as running:
        for _ in range(3):
            await running.enter_async_context(chat_socket(stack.url))
        stack.compose("stop")
    codes = {container["Name"]: container["State"]["ExitCode"] for container in stack.containers()}
    assert set(codes.values()) == {0}, {name: "killed" if code == KILLED else code for name, code in codes.items()}
