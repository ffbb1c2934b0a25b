"""A reader that follows the protocol, and records everything that it receives and shows."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Any

from faults.clients.links import ConnectionLostError
from faults.clients.person import Person
from faults.clients.sockets import Ack, ChatConnection, Event, Transport
from faults.judge import records
from faults.judge.records import How, Recorder, Source, now
from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_contracts import socket_events
from gifchat_contracts.position import Position
from gifchat_testkit import affinity
from gifchat_testkit.waiting import reconnect_delay_s

ACK_TIMEOUT_S = 5.0
_DURABLE = {socket_events.CHAT, socket_events.CHAT_DELETED, socket_events.NOTICE}


class Reader:
    """One user with one connection in one room.

    It runs from `begin` until `leave`, `vanish` or `finish`. If it loses the connection, it reconnects through nginx
    and joins with its position. After a refusal it retries, unless the refusal is final.
    """

    def __init__(
        self,
        name: str,
        person: Person,
        room: str,
        recorder: Recorder,
        rng: random.Random,
        *,
        transport: Transport = "websocket",
        gateway_of: Callable[[str], str] = str,
    ) -> None:
        """`gateway_of` returns a gateway's name for its tag, which is in the affinity cookie."""
        self.name = name
        self.person = person
        self.room = room
        self.gateway = ""
        """The name of the current gateway, or of the last one."""
        self.position: Position | None = None
        self.membership: str | None = None
        """The membership of the last join."""
        self.joined = asyncio.Event()
        """Set while the reader is in the room."""
        self.stopped: How | None = None
        self.refused: str | None = None
        """The code of a final refusal, after which the reader stops trying."""
        self.connection: ChatConnection | None = None
        self._recorder = recorder
        self._rng = rng
        self._transport: Transport = transport
        self._gateway_of = gateway_of
        self._may_connect = asyncio.Event()
        self._may_connect.set()
        self._view = 0
        self._shown: Position | None = None
        """The end of the last view. History is read from here."""
        self._held: list[tuple[str, dict[str, Any]]] = []
        self._join_at: float | None = None
        self._join_id: int | None = None
        self._ack_due: float | None = None
        self._refusals = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def settled(self) -> bool:
        """Whether no history read and no upgrade is in progress."""
        return not self._tasks

    def begin(self) -> None:
        """Connect and join, and retry until stopped."""
        self._write(records.Begun(t=now(), room=self.room, user=self.person.who.user_id, transport=self._transport))
        self._task = asyncio.create_task(self._stay(), name=f"reader {self.name}")

    async def leave(self) -> None:
        """Leave for good, with a closing handshake."""
        connection = self.connection
        if connection is not None:
            with contextlib.suppress(ConnectionLostError):
                await connection.emit(socket_events.LEAVE, {"room": self.room})
            await connection.close()
        await self._stop("left")

    async def vanish(self) -> None:
        """Leave for good without a closing handshake."""
        await self._stop("vanished")

    async def finish(self) -> None:
        """Stop at the end of the run."""
        await self._stop("end")

    def refresh(self) -> None:
        """Drop the connection without a handshake, and reconnect after the usual delay."""
        if self.connection is not None:
            self.connection.abort("refreshed by the test")

    def go_offline(self) -> None:
        """Like `refresh`, but reconnect only after `come_online`."""
        self._may_connect.clear()
        self.refresh()

    def come_online(self) -> None:
        """Reconnect."""
        self._may_connect.set()

    async def _stop(self, how: How) -> None:
        if self.stopped is not None:
            return
        self.stopped = how
        self.joined.clear()
        self._write(records.Stopped(t=now(), how=how))
        tasks = [task for task in (self._task, *self._tasks) if task is not None]
        await cancel_until_done(*tasks)
        self._recorder.close()
        failed = [task for task in tasks if not task.cancelled() and task.exception()]
        if failed:
            failed[0].result()

    def _write(self, record: records.Record) -> None:
        self._recorder.write(record)

    async def _stay(self) -> None:
        attempt = 0
        while self.refused is None:
            await self._may_connect.wait()
            try:
                self.connection = await ChatConnection.open(self.person, self._transport)
            except ConnectionLostError as lost:
                self._write(records.ConnectFailed(t=now(), reason=str(lost)))
            else:
                self.gateway = self._gateway_of(self.person.cookies.get(affinity.COOKIE, ""))
                self._write(records.Connected(t=now(), gateway=self.gateway))
                attempt = 0
                try:
                    await self._serve(self.connection)
                except ConnectionLostError as lost:
                    self._write(records.Disconnected(t=now(), reason=str(lost)))
                finally:
                    self.joined.clear()
                    self.connection.abort()
                    self.connection = None
            attempt += 1
            await asyncio.sleep(reconnect_delay_s(attempt, self._rng))

    async def _serve(self, connection: ChatConnection) -> None:
        self._join_at, self._ack_due, self._refusals = now(), None, 0
        self._held.clear()
        if self._transport == "upgrade":
            self._start(connection.upgrade_if_possible())
        while self.refused is None:
            if self._join_at is not None and now() >= self._join_at:
                await self._send_join(connection)
            due = [at for at in (self._join_at, self._ack_due) if at is not None]
            packet = await connection.receive(max(0.0, min(due) - now()) if due else None)
            match packet:
                case None:
                    if self._ack_due is not None and now() >= self._ack_due:
                        self._refuse({"code": "no_ack", "retry": True}, evicted=False)
                case Ack(id=ack_id, data=data):
                    if ack_id == self._join_id and isinstance(data, dict):
                        self._on_ack(data)
                case Event(name=name, data=data):
                    self._on_event(name, data)

    async def _send_join(self, connection: ChatConnection) -> None:
        request: dict[str, Any] = {"room": self.room}
        at = self.position
        if at is not None:
            request["position"] = at.as_json()
        self._write(records.JoinSent(t=now(), room=self.room, epoch=at.epoch if at else "", seq=at.seq if at else 0))
        self._join_at, self._ack_due = None, now() + ACK_TIMEOUT_S
        self._join_id = await connection.emit(socket_events.JOIN, request)

    def _on_ack(self, ack: dict[str, Any]) -> None:
        self._join_id = self._ack_due = None
        if not ack.get("ok"):
            self._refuse(ack, evicted=False)
            return
        self._refusals = 0
        self.membership = str(ack["membership"])
        head = Position(ack["position"]["epoch"], ack["position"]["seq"])
        recent = [(item["event"], item["data"]) for item in ack["recent"]]
        recovered = bool(ack["recovered"])
        self._write(
            records.Joined(
                t=now(), room=self.room, epoch=head.epoch, seq=head.seq, recovered=recovered, items=len(recent)
            )
        )
        for event, data in recent:
            self._received(event, data, "recent")
        if not recovered or self.position is None or self.position.epoch != head.epoch:
            self._begin_view(Position(head.epoch, recent[0][1]["seq"] - 1 if recent else head.seq))
        held, self._held = self._held, []
        for _, data in (*recent, *held):
            self._apply(data)
        self.joined.set()

    def _refuse(self, refusal: Mapping[str, Any], *, evicted: bool) -> None:
        self.joined.clear()
        self._ack_due = None
        code, retry = str(refusal["code"]), bool(refusal["retry"])
        self._write(records.JoinRefused(t=now(), room=self.room, code=code, retry=retry, evicted=evicted))
        if not retry:
            self.refused = code
            return
        self._refusals += 1
        wait_s = refusal.get("retry_after_s") or reconnect_delay_s(self._refusals, self._rng)
        self._join_at = now() + float(wait_s)

    def _on_event(self, name: str, data: Any) -> None:
        if name in _DURABLE:
            self._received(name, data, "live")
            if not self.joined.is_set():
                self._held.append((name, data))
            elif self.position is not None and data["epoch"] != self.position.epoch:
                self._forget()
            else:
                self._apply(data)
        elif name == "resync":
            self._write(records.Resync(t=now(), room=data["room"], seq=data["position"]["seq"]))
            self._forget()
        elif name == "joinRefused":
            self._refuse(data, evicted=True)
        elif name in {"join", "exit"}:
            self._write(
                records.Presence(
                    t=now(), room=data["room"], event="join" if name == "join" else "exit", user=data["user_id"]
                )
            )

    def _forget(self) -> None:
        """Forget what is shown, and join without a position."""
        self._shown, self.position = self.position or self._shown, None
        self.joined.clear()
        self._held.clear()
        self._join_at = now()

    def _begin_view(self, base: Position) -> None:
        before = self.position or self._shown
        if before is not None and before.epoch == base.epoch and before.seq < base.seq:
            self._start(self._read_back(self._view, before.seq, base.seq))
        self._view += 1
        self._shown, self.position = None, base
        self._write(records.ViewBegan(t=now(), view=self._view, epoch=base.epoch, seq=base.seq))

    def _received(self, event: str, data: dict[str, Any], source: Source) -> None:
        key = str(data["client_message_id"]) if event == socket_events.CHAT else ""
        self._write(
            records.Received(
                t=now(), room=data["room"], event=event, epoch=data["epoch"], seq=data["seq"], key=key, source=source
            )
        )

    def _apply(self, data: dict[str, Any]) -> None:
        """Show an entry unless it was already shown. The reader fills no holes, because that is the gateway's job."""
        if self.position is None or data["epoch"] != self.position.epoch or data["seq"] <= self.position.seq:
            return
        self.position = Position(data["epoch"], data["seq"])
        self._applied(self._view, data)

    def _applied(self, view: int, data: Mapping[str, Any]) -> None:
        key = str(data.get("client_message_id", ""))
        self._write(records.Applied(t=now(), view=view, epoch=data["epoch"], seq=data["seq"], key=key))

    async def _read_back(self, view: int, after: int, until: int) -> None:
        """Read over HTTP the entries that a reset skipped, like a user who scrolls back."""
        attempt = 0
        while after < until:
            attempt += 1
            items = await self.person.history(self.room, after, self.membership)
            for item in items:
                if after < item["data"]["seq"] <= until:
                    self._received(item["event"], item["data"], "history")
                    self._applied(view, item["data"])
                    after = item["data"]["seq"]
            if not items:
                await asyncio.sleep(reconnect_delay_s(attempt, self._rng))

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
