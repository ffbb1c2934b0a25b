"""One Engine.IO connection: a polling client, a WebSocket, or one on its way from the first to the second.

It has no task of its own while it is idle. What it receives waits in a short queue with one pump, which lives only
while there is work, so that a client's messages are handled one after the other.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from gifchat_realtime_gateway.engine import protocol
from gifchat_realtime_gateway.engine.protocol import Action
from gifchat_realtime_gateway.engine.websocket import CloseCode, Opcode, frame, text_frame
from gifchat_realtime_gateway.engine.write_loop import Sink

MAX_POLLED_PACKETS = 16
"""In one response; clients refuse more."""
MAX_OUTBOX_BYTES = 1024 * 1024
"""What may wait for a polling client; above, it is a slow consumer."""
MAX_INBOX = 32
"""Messages that may wait to be handled; above, nothing more is read from the client."""


class CloseReason:
    """Why a connection ended, as handlers of `disconnect` get it."""

    CLIENT = "client disconnect"
    SERVER = "server disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    SLOW_CONSUMER = "slow consumer"


_PING = (protocol.PING_PACKET.encode(),)
_PING_FRAME = text_frame(*_PING)
_HEARD_OUT = (CloseReason.CLIENT, CloseReason.TRANSPORT_CLOSE)
"""The client went: what it said before is handled still."""
_COMES_BACK = (CloseReason.SERVER, CloseReason.PING_TIMEOUT, CloseReason.SLOW_CONSUMER)
"""The client should reconnect, so its poll fails: after a close packet python-socketio never reconnects."""


class State(Enum):
    """Where packets to the client go."""

    POLLING = auto()
    PROBING = auto()
    """To the polls still; a WebSocket is there that may take over."""
    SWITCHING = auto()
    """To the polls still, which wait no longer: the WebSocket has been told that it can take over."""
    WEBSOCKET = auto()
    CLOSED = auto()


class OverlapError(Exception):
    """A second poll, or a second POST, while the first one is under way."""


class EndedError(Exception):
    """The connection is closed, and no packet is left to poll."""


class Link(Protocol):
    """A WebSocket that frames are written to."""

    deflates: bool
    """Whether the client reads compressed messages."""

    def write(self, data: bytes) -> None:
        """Write whole frames, in order; never waits."""
        ...

    def write_rest(self, data: bytes) -> None:
        """Write what the kernel did not take of frames that were written to `direct_fd`."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Say why, and end it; the connection is told nothing more."""
        ...

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        ...

    def resume_reading(self) -> None:
        """Go on."""
        ...

    def direct_fd(self) -> int:
        """The file descriptor, where frames may be written to it at once; -1 where something waits."""
        ...


class Owner(Protocol):
    """The server that connections belong to."""

    def handle(self, connection: "Connection", data: str | bytes) -> Awaitable[None]:
        """A message from the client. What it raises ends the connection."""
        ...

    def answered(self, connection: "Connection") -> None:
        """The client answered a ping."""
        ...

    def closed(self, connection: "Connection", reason: str) -> None:
        """It is over; called once."""
        ...


class Connection(Sink):
    """See the module. The write loop reads its `fd`."""

    __slots__ = (
        "_inbox",
        "_outbox",
        "_outbox_bytes",
        "_owner",
        "_poll",
        "_pump",
        "admitted",
        "awaits_pong",
        "base64",
        "beat",
        "deflates",
        "environ",
        "link",
        "parting",
        "posting",
        "relayed_poll",
        "session",
        "session_id",
        "sid",
        "state",
    )

    def __init__(self, sid: str, owner: Owner, environ: dict[str, Any], link: Link | None = None) -> None:
        """`environ` is what handlers are told of the request; with `link` it is a WebSocket from the beginning."""
        self.sid = sid
        self.environ = environ
        self.link = link
        self.fd = link.direct_fd() if link else -1
        self.deflates = link is not None and link.deflates
        self.state = State.WEBSOCKET if link else State.POLLING
        self.beat = 0
        self.admitted = False
        """Whether the client has opened a namespace. One that never does goes after a while."""
        self.awaits_pong = False
        self.base64 = False
        """Whether the client cannot receive binary frames, so that it gets binary messages in base64."""
        self.parting = False
        """Whether it is closed, and packets are left for the client's next poll."""
        self.posting = False
        self.relayed_poll: str | None = None
        """The `t` of the last poll if another node relayed it."""
        self.session: dict[str, Any] | None = None
        self.session_id: str | None = None
        """The user's session that opened the connection; every later request must carry it."""
        self._owner = owner
        self._outbox: deque[str | bytes] | None = None
        self._outbox_bytes = 0
        self._poll: asyncio.Future[None] | None = None
        self._inbox: deque[str | bytes] | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.state is State.CLOSED

    @property
    def unread(self) -> bool:
        """Whether packets are left in the outbox, beyond those that the waiting poll takes."""
        waiting = len(self._outbox) if self._outbox else 0
        return waiting > (0 if self._poll is None else MAX_POLLED_PACKETS)

    @property
    def busy(self) -> bool:
        """Whether a message is being handled."""
        return self._pump is not None

    # ------------------------------------------------------------------------------------------------------ to it

    def send(self, packet: str | bytes) -> None:
        """Send one packet: its text, or the bytes of a binary message. Never waits."""
        if self.base64 and isinstance(packet, bytes):
            packet = protocol.base64_packet(packet)
        if self.link is not None and self.state is State.WEBSOCKET:
            self.link.write(text_frame(packet.encode()) if isinstance(packet, str) else frame(Opcode.BINARY, packet))
        elif self.state is not State.CLOSED:
            self._queue(packet)

    def send_frame(self, data: bytes, packets: Sequence[bytes]) -> None:
        """Send `packets`, in UTF-8, that are in the frames of `data` already; for a poller they are queued."""
        if self.link is not None and self.state is State.WEBSOCKET:
            self.link.write(data)
        elif self.state is not State.CLOSED:
            for packet in packets:
                self._queue(packet.decode())

    def ping(self) -> None:
        """Ask whether the client is there."""
        self.awaits_pong = True
        self.send_frame(_PING_FRAME, _PING)

    def ping_missed(self) -> None:
        """It is not."""
        self.close(CloseReason.PING_TIMEOUT)

    def _queue(self, packet: str | bytes) -> None:
        if self._outbox is None:
            self._outbox = deque()
        self._outbox.append(packet)
        self._outbox_bytes += len(packet)
        if self._outbox_bytes > MAX_OUTBOX_BYTES:
            self.close(CloseReason.SLOW_CONSUMER)
        else:
            self._answer_poll()

    # ---------------------------------------------------------------------------------------------------- polling

    async def poll(self) -> list[str | bytes]:
        """What waits for the client, as soon as there is something; at most `MAX_POLLED_PACKETS`.

        Raises:
            OverlapError: another poll is waiting.
            EndedError: the server closed the connection, and the client should connect again.
        """
        if self._poll is not None:
            raise OverlapError
        if not self._outbox and self.state in (State.POLLING, State.PROBING):
            self._poll = asyncio.get_running_loop().create_future()
            try:
                await self._poll
            finally:
                self._poll = None
        if not self._outbox and self.state is State.CLOSED:
            raise EndedError
        if not self._outbox or self.state is State.WEBSOCKET:
            return [protocol.NOOP_PACKET]
        packets = [self._outbox.popleft() for _ in range(min(len(self._outbox), MAX_POLLED_PACKETS))]
        self._outbox_bytes -= sum(map(len, packets))
        if not self._outbox:
            self.parting = False
        return packets

    def _answer_poll(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    # --------------------------------------------------------------------------------------------------- upgrading

    def probe(self) -> None:
        """A WebSocket is there that wants to take over; there is no second one beside it."""
        self.state = State.PROBING

    def probed(self) -> None:
        """It was told that it can: end the poll that is waiting, so that the client can say yes.

        Raises:
            InvalidPacketError: there is nothing to take over any more.
        """
        if self.state is not State.PROBING:
            raise protocol.InvalidPacketError(f"a probe while {self.state.name}")
        self.state = State.SWITCHING
        self._answer_poll()

    def probe_failed(self) -> None:
        """It went away before it took over: polling goes on."""
        if self.state in (State.PROBING, State.SWITCHING):
            self.state = State.POLLING

    def upgrade(self, link: Link) -> None:
        """It takes over, after it was told that it can; what waits for a poll goes to it first."""
        waiting, self._outbox, self._outbox_bytes = self._outbox, None, 0
        self.link = link
        self.deflates = link.deflates
        self.state = State.WEBSOCKET
        self._answer_poll()
        for packet in waiting or ():
            self.send(packet)
        self.fd = link.direct_fd()

    # ---------------------------------------------------------------------------------------------------- from it

    def receive(self, action: Action, data: str | bytes) -> None:
        """One packet from the client; nothing after its end."""
        if self.state is State.CLOSED:
            return
        match action:
            case Action.MESSAGE:
                self._receive_message(data)
            case Action.PONG:
                if self.awaits_pong:
                    self.awaits_pong = False
                    self._owner.answered(self)
            case Action.CLOSE:
                self.close(CloseReason.CLIENT, CloseCode.NORMAL)
            case Action.IGNORE:
                pass
            case Action.ANSWER_PROBE | Action.UPGRADE:
                raise protocol.InvalidPacketError("the link handles an upgrade")

    async def handled(self) -> None:
        """Return when there is space for more messages."""
        while self._inbox and len(self._inbox) > MAX_INBOX and self._pump is not None:
            await asyncio.wait({self._pump})

    async def worked_off(self) -> None:
        """Return when no message is being handled, and none waits."""
        if self._pump is not None:
            await asyncio.wait({self._pump})

    def _receive_message(self, data: str | bytes) -> None:
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(data)
        if self._pump is None:
            self._pump = asyncio.create_task(self._work_off(self._inbox))
        elif len(self._inbox) > MAX_INBOX and self.link is not None:
            self.link.pause_reading()

    async def _work_off(self, inbox: deque[str | bytes]) -> None:
        try:
            while inbox:
                await self._owner.handle(self, inbox.popleft())
                if len(inbox) == MAX_INBOX and self.link is not None:
                    self.link.resume_reading()
        finally:
            self._pump = None
            self._inbox = None

    # -------------------------------------------------------------------------------------------------------- end

    def close(self, reason: str, code: int = CloseCode.GOING_AWAY) -> None:
        """End it; once. A client whose connection is closed by the server comes back by itself."""
        if self._inbox and reason not in _HEARD_OUT:
            self._inbox.clear()
        if self.state is State.CLOSED:
            return
        was, self.state = self.state, State.CLOSED
        self.fd = -1
        self.beat += 1
        if self.link is not None:
            self.link.close(code)
            self.link = None
        if was is not State.WEBSOCKET:
            if self._outbox is None or reason == CloseReason.SLOW_CONSUMER:
                self._outbox = deque()
            if reason not in _COMES_BACK:
                self._outbox.append(protocol.NOOP_PACKET if reason == CloseReason.CLIENT else protocol.CLOSE_PACKET)
            self._answer_poll()
        self._owner.closed(self, reason)
