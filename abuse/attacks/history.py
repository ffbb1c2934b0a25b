"""A member reads the longest pages of a long history, many at once."""

import asyncio
from contextlib import AsyncExitStack

import httpx

from abuse.attack import Attack, Prepared, Stage
from gifchat_contracts import limits, socket_events
from gifchat_contracts.identity import MEMBERSHIP_HEADER
from gifchat_testkit.clients import cookie_header, visitor
from gifchat_testkit.raw_chat import raw_chat

AT_ONCE = 16
_WRITERS = 5
_RETRY_S = 0.05
_TEXT = "가" * limits.TEXT_MAX_CHARS


async def prepare(stage: Stage) -> Prepared:
    """Fill a room with the longest messages; its owner is the attacker."""
    async with AsyncExitStack() as stack:
        writers = [
            await stack.enter_async_context(visitor(stage.url, address=f"127.0.3.{1 + number}"))
            for number in range(_WRITERS)
        ]
        answer = await writers[0].post("/api/v1/rooms", json={"title": "Long", "max": 100})
        answer.raise_for_status()
        room = str(answer.json()["_id"])
        await asyncio.gather(*(_fill(stage.url, room, writer, number) for number, writer in enumerate(writers)))
        return {"room": room, "cookie": cookie_header(writers[0])}


async def _fill(url: str, room: str, writer: httpx.AsyncClient, number: int) -> None:
    async with raw_chat(url, cookie_header(writer), address=f"127.0.3.{1 + number}") as chat:
        membership = (await chat.call(socket_events.JOIN, {"room": room}))["membership"]
        for count in range(limits.HISTORY_PAGE_MAX // _WRITERS):
            message = {"client_message_id": f"{number}-{count}", "text": _TEXT}
            while True:
                answer = await writer.post(
                    f"/api/v1/rooms/{room}/messages", json=message, headers={MEMBERSHIP_HEADER: membership}
                )
                if answer.is_success:
                    break
                assert answer.status_code == 429, answer.text
                await asyncio.sleep(float(answer.headers["Retry-After"]))


async def run(stage: Stage) -> None:
    """Read pages."""
    transport = httpx.AsyncHTTPTransport(local_address=stage.address, verify=False)
    headers = {"Cookie": stage.prepared["cookie"]}
    async with httpx.AsyncClient(base_url=stage.url, headers=headers, transport=transport, timeout=10.0) as http:
        path = f"/api/v1/rooms/{stage.prepared['room']}/messages?limit={limits.HISTORY_PAGE_MAX}"
        await asyncio.gather(*(_read(stage, http, path) for _ in range(AT_ONCE)))


async def _read(stage: Stage, http: httpx.AsyncClient, path: str) -> None:
    while True:
        try:
            answer = await http.get(path)
        except httpx.HTTPError as error:
            stage.findings[type(error).__name__] += 1
            continue
        if answer.is_success:
            stage.findings["pages"] += 1
            stage.findings["bytes received"] += len(answer.content)
        else:
            stage.findings[f"refused with {answer.json()['code']}"] += 1
            await asyncio.sleep(_RETRY_S)


ATTACK = Attack(
    name="history",
    what=f"the owner of a room with {limits.HISTORY_PAGE_MAX} messages of {limits.TEXT_MAX_CHARS:,} characters reads "
    f"all of it, {AT_ONCE} times at once, over and over",
    prepare=prepare,
    run=run,
)
