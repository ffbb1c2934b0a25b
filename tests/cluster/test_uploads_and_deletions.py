"""In the whole cluster, half-sent uploads harm nobody, and a deleted GIF is gone everywhere."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from gifchat_testkit.clients import cookie_header, visitor
from gifchat_testkit.cluster import EmbeddedCluster
from gifchat_testkit.pictures import picture

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

GONE_WITHIN_S = 5.0
HALVES = 24
NOBODY = {"401", "403"}


async def room_of(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/v1/rooms", json={"title": "a room"})
    answer.raise_for_status()
    return str(answer.json()["_id"])


async def post_gif(client: httpx.AsyncClient, room: str, data: bytes) -> dict[str, Any]:
    """Upload and post a GIF; return the message."""
    gif = await client.post(f"/api/v1/rooms/{room}/gifs", files={"gif": data})
    assert gif.status_code == 201, gif.text
    body = {"client_message_id": "k", "gif": gif.json()["id"]}
    message = await client.post(f"/api/v1/rooms/{room}/messages", json=body)
    assert message.status_code == 201, message.text
    found: dict[str, Any] = message.json()
    return found


async def answers(client: httpx.AsyncClient, message: dict[str, Any]) -> set[int]:
    """Return the status of every way to get a GIF: whole, conditional, a part, and its still."""
    url, still_url = message["gif_info"]["url"], message["gif_info"]["still_url"]
    etag = f'"{message["gif"].partition("/")[2].partition(".")[0]}"'
    got = await asyncio.gather(
        client.get(url),
        client.get(url, headers={"If-None-Match": etag}),
        client.get(url, headers={"Range": "bytes=0-1"}),
        client.get(still_url),
    )
    return {answer.status_code for answer in got}


async def wait_until_gone(client: httpx.AsyncClient, message: dict[str, Any]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while (found := await answers(client, message)) != {404}:
        assert time.monotonic() < deadline, f"still served: {found}"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("what", ["message", "room"])
async def test_a_deleted_gif_is_gone_within_5_s_and_stays_in_other_rooms(cluster: EmbeddedCluster, what: str) -> None:
    data = picture("gif", 40, 30 if what == "room" else 31, frames=3)
    async with visitor(cluster.url) as owner, httpx.AsyncClient(base_url=cluster.url) as viewer:
        room, other = await room_of(owner), await room_of(owner)
        deleted, kept = await post_gif(owner, room, data), await post_gif(owner, other, data)
        for message in (deleted, kept):
            assert await answers(viewer, message) == {200, 206, 304}
            assert (await viewer.get(f"/gif/{message['gif']}")).status_code == 200, "the original's way to the file"
        path = f"/api/v1/rooms/{room}" + (f"/messages/{deleted['seq']}" if what == "message" else "")
        assert (await owner.delete(path)).status_code == 204
        await wait_until_gone(viewer, deleted)
        assert await answers(viewer, kept) == {200, 206, 304}


async def half_sent(
    cluster: EmbeddedCluster, stack: AsyncExitStack, path: str, cookies: str = ""
) -> asyncio.StreamReader:
    """Send the headers and a part of an upload, and leave the connection open."""
    url = httpx.URL(cluster.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    stack.callback(writer.close)
    part = b"--x\r\nContent-Disposition: form-data; name=gif; filename=x\r\n\r\n" + bytes(100_000)
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: {url.host}:{url.port}",
        f"Origin: {cluster.url}",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 10000000",
        *([f"Cookie: {cookies}"] if cookies else []),
    ]
    writer.write("\r\n".join([*head, "", ""]).encode() + part)
    return reader


async def status_of(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(10):
        return (await reader.readline()).decode().split()[1]


@pytest.mark.parametrize("path", ["/api/v1/rooms/{}/gifs", "/room/{}/gif"])
async def test_half_sent_uploads_without_a_session_are_refused_and_harm_nobody(
    cluster: EmbeddedCluster, path: str
) -> None:
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(visitor(cluster.url))
        room = await room_of(owner)
        halves = [await half_sent(cluster, stack, path.format(room)) for _ in range(HALVES)]
        assert {await status_of(reader) for reader in halves} <= NOBODY
        await post_gif(owner, room, picture("gif", 33, 30))


async def test_half_sent_uploads_of_one_address_leave_room_for_other_requests(cluster: EmbeddedCluster) -> None:
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(visitor(cluster.url))
        room = await room_of(owner)
        path = f"/api/v1/rooms/{room}/gifs"
        for _ in range(HALVES):
            await half_sent(cluster, stack, path, cookie_header(owner))
        body = {"client_message_id": "text", "text": "hello"}
        assert (await owner.post(f"/api/v1/rooms/{room}/messages", json=body)).status_code == 201
        url = str(httpx.URL(cluster.url).copy_with(host="127.0.0.1"))
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        someone = await stack.enter_async_context(httpx.AsyncClient(base_url=url, transport=transport, timeout=10))
        (await someone.post("/api/v1/session")).raise_for_status()
        await post_gif(someone, await room_of(someone), picture("gif", 35, 30))
        async with asyncio.timeout(60):
            while (await owner.post(path, files={"gif": picture("gif", 34, 30)})).status_code != 201:
                await asyncio.sleep(0.5)  # until the deadline ends the half-sent uploads
    written = (cluster.data / "nginx" / "temp" / "client_body").rglob("*")
    assert not [file for file in written if file.is_file()]
