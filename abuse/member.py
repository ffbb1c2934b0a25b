"""A normal user who stays in a room: reconnects whenever the connection ends, as our page does."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Self

from websockets.exceptions import WebSocketException

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_contracts import socket_events
from gifchat_testkit.raw_chat import RawChat, raw_chat
from gifchat_testkit.waiting import until

_RECONNECT_S = 0.2
_NOTICE_S = 0.02
_TAG_CHARS = 8


class Member:
    """A user's connection in one room; `async with Member(…)` joins."""

    def __init__(self, url: str, room: str, *, cookie: str, address: str) -> None:
        self.disconnects = 0
        """How often the connection was lost."""
        self._url, self._room, self._cookie, self._address = url, room, cookie, address
        self._stack = AsyncExitStack()
        self._chat: RawChat | None = None
        self._position: dict[str, Any] | None = None
        self._received: set[str] = set()
        self._staying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._connect()
        self._staying = asyncio.create_task(self._stay(), name="stay in a room")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._staying is not None:
            await cancel_until_done(self._staying)
        await self._stack.aclose()

    @property
    def gateway(self) -> str:
        """The tag of the gateway that this member is connected to."""
        assert self._chat is not None
        return str(self._chat.handshake["sid"])[:_TAG_CHARS]

    async def chat(self) -> RawChat:
        """Return the joined connection; wait while there is none."""
        await until(lambda: self._chat is not None, float("inf"), poll_interval_s=_NOTICE_S)
        assert self._chat is not None
        return self._chat

    def received(self) -> set[str]:
        """Return the `client_message_id` of every message received so far."""
        self._note(self._chat)
        return self._received

    async def _connect(self) -> None:
        chat = await self._stack.enter_async_context(raw_chat(self._url, self._cookie, address=self._address))
        join = {"room": self._room} | ({"position": self._position} if self._position else {})
        ack = await chat.call(socket_events.JOIN, join)
        assert ack.get("ok"), f"a normal user could not join: {ack}"
        self._received.update(entry["data"].get("client_message_id", "") for entry in ack["recent"])
        self._position = ack["position"]
        self._chat = chat

    async def _stay(self) -> None:
        while True:
            await until(lambda: self._chat is None or self._chat.closed, float("inf"), poll_interval_s=_NOTICE_S)
            if self._chat is not None:
                self._note(self._chat)
                self._chat = None
                self.disconnects += 1
            await self._stack.aclose()
            try:
                await self._connect()
            except (AssertionError, OSError, WebSocketException):
                await asyncio.sleep(_RECONNECT_S)

    def _note(self, chat: RawChat | None) -> None:
        for data in chat.of(socket_events.CHAT) if chat is not None else ():
            self._received.add(data["client_message_id"])
            self._position = {"epoch": data["epoch"], "seq": data["seq"]}
