"""Newcomers: every second, a new user from another address does a little of everything and must not be refused."""

import asyncio
import itertools
import time
from collections import Counter

import httpx
from websockets.exceptions import WebSocketException

from gifchat_contracts import socket_events
from gifchat_contracts.identity import MEMBERSHIP_HEADER
from gifchat_testkit.clients import cookie_header, visitor
from gifchat_testkit.pictures import picture
from gifchat_testkit.raw_chat import raw_chat

EVERY_S = 1.0
_ADDRESSES = 250


class RefusedError(Exception):
    """A step was refused; `str()` names the step and the code."""


class Newcomers:
    """Users who come, look around, join, post, upload and leave."""

    def __init__(self, url: str, room: str) -> None:
        self.came = 0
        """How many finished without a refusal."""
        self.refused: Counter[str] = Counter()
        """Refusals, by step and code."""
        self.slowest_s = 0.0
        self._url, self._room = url, room
        self._numbers = itertools.count(1)

    async def keep_coming(self) -> None:
        """Start newcomers until cancelled. The running ones are then cancelled too."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._come(next(self._numbers)))
                await asyncio.sleep(EVERY_S)

    async def _come(self, number: int) -> None:
        began_s = time.monotonic()
        try:
            await self._visit(number, f"127.0.2.{1 + number % _ADDRESSES}")
        except RefusedError as refused:
            self.refused[str(refused)] += 1
        except (AssertionError, OSError, httpx.HTTPError, WebSocketException) as error:
            self.refused[type(error).__name__] += 1
        else:
            self.came += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)

    async def _visit(self, number: int, address: str) -> None:
        async with visitor(self._url, address=address) as http:
            _check("list", await http.get("/api/v1/rooms"))
            _check("create", await http.post("/api/v1/rooms", json={"title": f"Newcomer {number}"}))
            async with raw_chat(self._url, cookie_header(http), address=address) as chat:
                ack = await chat.call(socket_events.JOIN, {"room": self._room})
                if not ack["ok"]:
                    raise RefusedError(f"join {ack['code']}")
                member = {MEMBERSHIP_HEADER: ack["membership"]}
                messages = f"/api/v1/rooms/{self._room}/messages"
                _check("history", await http.get(messages, headers=member))
                message = {"client_message_id": f"newcomer-{number}", "text": "Hello!"}
                _check("post", await http.post(messages, json=message, headers=member))
                files = {"gif": ("new.gif", picture("gif", 40 + number % 100, 30), "image/gif")}
                _check("upload", await http.post(f"/api/v1/rooms/{self._room}/gifs", files=files, headers=member))


def _check(step: str, answer: httpx.Response) -> None:
    if not answer.is_success:
        try:
            code = str(answer.json()["code"])
        except (ValueError, KeyError):
            code = str(answer.status_code)
        raise RefusedError(f"{step} {code}")
