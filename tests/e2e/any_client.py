"""Clients of several releases of python-socketio in one room, with default options except for the transports.

Configuration: one JSON argument `{url, room, clients: [["Client" | "AsyncClient", "default" | "polling" |
"websocket"], …], at_once, messages, stay}`. To use another release of the library, add its folder to PYTHONPATH.

Without `stay` the clients run in batches of `at_once`. Each joins, posts `messages` messages one after the other, waits
for the messages of its batch, and leaves. With `stay` all clients stay, and the first one posts. The program prints
`{"ready": true}`, reads a line and stops posting, prints `{"head": seq}`, and reads the seq that all clients wait for.
In both cases it prints one line of facts per client, which the test checks.
"""

import asyncio
import json
import sys
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from typing import Any

import engineio
import socketio

DEADLINE_S = 30.0
RETRY_S = 0.5
WRITE_EVERY_S = 0.06
VERSION = version("python-socketio")


class OrderedEngine(engineio.Client):
    """Handles packets in the thread that reads them.

    The library's own engine starts a thread for each packet, so packets can be handled out of order.
    """

    def _trigger_event(self, event: str, *args: Any, **how: Any) -> Any:
        how["run_async"] = False
        return super()._trigger_event(event, *args, **how)  # type: ignore[no-untyped-call]


class SyncClient(socketio.Client):
    """`socketio.Client` with `OrderedEngine`."""

    def _engineio_client_class(self) -> type:
        return OrderedEngine


class Client:
    """One client in the event loop. Calls of a synchronous client run in threads."""

    def __init__(self, config: dict[str, Any], number: int, kind: str, transports: str) -> None:
        self.name = f"{kind}-{VERSION}-{transports}-{number}"
        self.transports = transports
        self.facts: dict[str, Any] = {
            "client": self.name,
            "version": VERSION,
            "transport": None,
            "connects": 0,
            "recovered": [],
            "acked": [],
            "received": [],
            "faults": [],
        }
        self.position: dict[str, Any] | None = None
        self.joined = False
        self._held: list[dict[str, Any]] = []
        """Messages received before the ack of the join. They follow the messages in the ack."""
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gone = asyncio.Event()
        self._sync = kind == "Client"
        self._socket: Any = SyncClient() if self._sync else socketio.AsyncClient()
        self._on("connect", self._on_connect)
        self._on("connect_error", lambda *what: self.fault(f"connect_error: {what}"))
        self._on("disconnect", self._on_disconnect)
        self._on("chat", self._on_chat)

    # ------------------------------------------------------------------------------------------- common to both kinds

    def _on(self, event: str, handler: Callable[..., None]) -> None:
        self._socket.on(event, self._in_loop(handler), namespace="/chat")

    def _in_loop(self, handler: Callable[..., None]) -> Callable[..., None]:
        if not self._sync:
            return handler
        return lambda *args: self._loop.call_soon_threadsafe(handler, *args)  # type: ignore[return-value]

    async def _do(self, method: Callable[..., Any], *args: Any, **how: Any) -> Any:
        if self._sync:
            return await asyncio.to_thread(method, *args, **how)
        return await method(*args, **how)

    async def _emit(self, event: str, data: Any, callback: Callable[..., None]) -> None:
        await self._do(self._socket.emit, event, data, namespace="/chat", callback=self._in_loop(callback))

    async def connect(self) -> None:
        how: dict[str, Any] = {} if self.transports == "default" else {"transports": [self.transports]}
        if not VERSION.startswith("5.0."):
            # Limits how long the call waits for the namespace. The test has its own deadlines.
            how["wait_timeout"] = DEADLINE_S
        try:
            await self._do(self._socket.connect, self._config["url"], namespaces=["/chat"], **how)
        except socketio.exceptions.ConnectionError as error:
            self.fault(f"connect: {error}")
        else:
            await self.until("join", lambda: self.joined)

    async def leave(self) -> None:
        self.facts["transport"] = self._socket.transport()
        report(self.facts)
        await self._do(self._socket.disconnect)

    # ------------------------------------------------------------------------------------------------- behaviour

    def fault(self, what: str) -> None:
        """Record something that must not happen to a client of a healthy system."""
        self.facts["faults"].append(what)

    def _on_connect(self) -> None:
        self.facts["connects"] += 1
        self._gone.clear()
        self._held.clear()
        self._start(self._join())

    def _on_disconnect(self, *reason: str) -> None:
        self.joined = False
        self._gone.set()
        self.fault(f"disconnect: {reason}")

    async def _join(self) -> None:
        wanted = {"room": self._config["room"]}
        if self.position is not None:
            wanted["position"] = self.position
        try:
            await self._emit("join", wanted, self._on_joined)
        except socketio.exceptions.SocketIOError as error:
            self.fault(f"join: {error}")

    def _on_joined(self, ack: dict[str, Any]) -> None:
        if not ack["ok"]:
            self.fault(f"join: {ack['code']}")
            if ack["retry"]:
                self._loop.call_later(RETRY_S, self._join_again)
            return
        if self.position is not None:
            self.facts["recovered"].append(ack["recovered"])
        for entry in ack["recent"]:
            if entry["event"] == "chat":
                self._take(entry["data"])
        self.position = ack["position"]
        self.joined = True
        for message in self._held:
            self._take(message)
        self._held.clear()
        self._start(self._notify())

    def _join_again(self) -> None:
        if not self._gone.is_set():
            self._start(self._join())

    def _on_chat(self, message: dict[str, Any]) -> None:
        if self.joined:
            self._take(message)
        else:
            self._held.append(message)

    def _take(self, message: dict[str, Any]) -> None:
        epoch, seq = message["epoch"], message["seq"]
        if self.position is not None and self.position["epoch"] == epoch and seq <= self.position["seq"]:
            return
        self.position = {"epoch": epoch, "seq": seq}
        self.facts["received"].append([seq, message["chat"]])
        self._start(self._notify())

    async def chat(self, text: str) -> None:
        """Post a message, and wait for its ack or for the end of the connection."""
        acked: asyncio.Future[dict[str, Any]] = self._loop.create_future()

        def on_ack(ack: dict[str, Any]) -> None:
            if not acked.done():
                acked.set_result(ack)

        message = {"room": self._config["room"], "client_message_id": str(uuid.uuid4()), "text": text}
        gone = self._start(self._gone.wait())
        try:
            await self._emit("chat", message, on_ack)
            await asyncio.wait([acked, gone], return_when=asyncio.FIRST_COMPLETED)
        except socketio.exceptions.SocketIOError as error:
            self.fault(f"chat: {error}")
        finally:
            gone.cancel()
        if not acked.done():
            acked.cancel()
        elif acked.result()["ok"]:
            self.facts["acked"].append(text)
        else:
            self.fault(f"chat: {acked.result()['code']}")

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        async with self._changed:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self._changed.wait_for(condition)
            except TimeoutError:
                self.facts["faults"].append(f"not in time: {what}")

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def report(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def next_line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


async def visit(clients: list[Client], messages: int) -> None:
    await asyncio.gather(*(client.connect() for client in clients))
    texts: set[str] = set()

    async def write(client: Client) -> None:
        for number in range(messages):
            texts.add(f"{client.name} {number}")
            await client.chat(f"{client.name} {number}")

    def has_all(client: Client) -> bool:
        return texts <= {text for _, text in client.facts["received"]}

    await asyncio.gather(*map(write, clients))
    await asyncio.gather(*(client.until("every message", partial(has_all, client)) for client in clients))
    await asyncio.gather(*(client.leave() for client in clients))


async def stay(clients: list[Client]) -> None:
    writer = clients[0]
    stopped = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stopped.is_set():
            await writer.until("join", lambda: writer.joined)
            await writer.chat(f"{writer.name} {number}")
            await asyncio.sleep(WRITE_EVERY_S)
            number += 1

    writing = asyncio.create_task(write())
    report({"ready": True})
    await next_line()
    stopped.set()
    await writing
    await writer.until("join", lambda: writer.joined)
    report({"head": writer.position["seq"] if writer.position else 0})
    head = int(await next_line())

    def has_all(client: Client) -> bool:
        return client.joined and client.position is not None and client.position["seq"] >= head

    await asyncio.gather(*(client.until(f"message {head}", partial(has_all, client)) for client in clients))
    await asyncio.gather(*(client.leave() for client in clients))


async def main(config: dict[str, Any]) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
    clients = [Client(config, number, *kind) for number, kind in enumerate(config["clients"])]
    for at in range(0, len(clients), config["at_once"]):
        batch = clients[at : at + config["at_once"]]
        if config["stay"]:
            await asyncio.gather(*(client.connect() for client in batch))
        else:
            await visit(batch, config["messages"])
    if config["stay"]:
        await stay(clients)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
