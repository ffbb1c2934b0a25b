"""One event to many connections: encoded once, framed once, written in a tight loop.

Write combining: what is sent to a group goes out at the end of the event loop's turn, so events that come together are
one write for each member. A lone event leaves in the same turn. In a hot room, where the loop is late, many come
together, and the cost of a delivery falls.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gifchat_realtime_gateway.engine.connection import Connection
from gifchat_realtime_gateway.engine.websocket import deflated_frame, text_frame
from gifchat_realtime_gateway.engine.write_loop import BROKEN, NOT_NOW, write_all

CHUNK = 2_000
"""Connections that are written to before the loop has its turn: some 20 ms."""

_NOBODY: frozenset[Connection] = frozenset()


def write_to(connections: list[Connection], data: bytes, packets: Sequence[bytes]) -> int:
    """Write the frames `data`, which hold `packets`, to each of `connections`; returns to how many."""
    for place, sent in write_all(connections, data):
        connection = connections[place]
        if sent == NOT_NOW:
            connection.send_frame(data, packets)
        elif sent != BROKEN and connection.link is not None:
            connection.link.write_rest(data[sent:] if sent else data)
        # The transport finds out by itself that a socket is broken, and ends the connection.
    return len(connections)


class EndOfTurn:
    """When groups write what they were sent: at the end of the event loop's turn, with one callback for all of them."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: list[Group] = []

    def flush(self, group: "Group") -> None:
        """Have the group write then."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._flush)
        self._due.append(group)

    def _flush(self) -> None:
        due, self._due = self._due, []
        for group in due:
            try:
                group.flush()
            except Exception as error:
                # The boundary of a group: what goes wrong in one does not silence the others.
                context = {"message": "a group was not written to", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)


class _Outgoing:
    """Packets as they are written: compressed once for all who read them so, and only if there is somebody."""

    __slots__ = ("_deflated", "frames", "packets")

    def __init__(self, packets: list[bytes], frames: list[bytes]) -> None:
        self.packets = packets
        self.frames = frames
        self._deflated: list[bytes] | None = None

    @property
    def deflated(self) -> list[bytes]:
        """Frames with the packets, compressed."""
        if self._deflated is None:
            self._deflated = [deflated_frame(packet) for packet in self.packets]
        return self._deflated


def _joined(frames: list[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"".join(frames)


class _Flush(NamedTuple):
    """What goes out at once, chunk by chunk."""

    outgoing: _Outgoing
    special: Collection[Connection]
    """Who gets something else, and has got it already."""
    changes: int
    """How often somebody had come or gone when it began."""


class Group:
    """Connections that hear the same. Each gets what is sent after it came, in order."""

    __slots__ = (
        "_changes",
        "_deflates",
        "_end",
        "_excluded",
        "_flushes",
        "_flushing",
        "_frames",
        "_late",
        "_members",
        "_packets",
    )

    def __init__(self, end: EndOfTurn, *, deflates: bool = False) -> None:
        """`deflates`: some of those who come may read compressed messages."""
        self._end = end
        self._deflates = deflates
        self._members: dict[Connection, int] = {}
        """Each with the number of flushes that had begun when it came."""
        self._flushes = 0
        self._changes = 0
        """How often somebody came or went."""
        self._packets: list[bytes] = []
        self._frames: list[bytes] = []
        self._excluded: dict[int, frozenset[Connection]] = {}
        """Who is left out, by the place of the packet among those that wait."""
        self._late: dict[Connection, int] = {}
        """Who came while packets waited, and how many of them are not for it."""
        self._flushing = False

    def __len__(self) -> int:
        return len(self._members)

    def add(self, connection: Connection) -> None:
        """From now on it hears what is sent."""
        if connection in self._members:
            return
        self._members[connection] = self._flushes
        self._changes += 1
        if self._packets:
            self._late[connection] = len(self._packets)

    def discard(self, connection: Connection) -> None:
        """It hears no more, not even what waits."""
        if self._members.pop(connection, None) is not None:
            self._changes += 1
        self._late.pop(connection, None)

    def send(self, packet: bytes, exclude: Collection[Connection] = ()) -> None:
        """Send one packet, in UTF-8, to all members, or to all but some."""
        if not self._members:
            return
        if exclude:
            self._excluded[len(self._packets)] = frozenset(exclude)
        self._packets.append(packet)
        self._frames.append(text_frame(packet))
        if not self._flushing:
            self._flushing = True
            self._end.flush(self)

    def flush(self) -> None:
        """Write what was sent since the last time; of a large group, the first chunk."""
        self._flushes += 1
        packets, self._packets = self._packets, []
        frames, self._frames = self._frames, []
        outgoing = _Outgoing(packets, frames)
        members = list(self._members)
        if not self._late and not self._excluded:
            if len(members) <= CHUNK:
                try:
                    self._write(members, outgoing)
                finally:
                    self._flushed()
                return
            self._write_chunk(members, 0, _Flush(outgoing, _NOBODY, self._changes))
            return
        excluded, self._excluded = self._excluded, {}
        late, self._late = self._late, {}
        special = set(late).union(*excluded.values())
        flush = _Flush(outgoing, special, self._changes)
        try:
            for connection in special:
                if connection in self._members:
                    self._write_some(connection, outgoing, late.get(connection, 0), excluded)
        finally:
            self._write_chunk(members, 0, flush)

    def _write(self, members: list[Connection], outgoing: _Outgoing) -> None:
        readers = [each for each in members if each.deflates] if self._deflates else ()
        if readers:
            members = [each for each in members if not each.deflates]
        write_to(members, _joined(outgoing.frames), outgoing.packets)
        if readers:
            write_to(readers, _joined(outgoing.deflated), outgoing.packets)

    def _write_some(
        self,
        connection: Connection,
        outgoing: _Outgoing,
        since: int,
        excluded: dict[int, frozenset[Connection]],
    ) -> None:
        packets = outgoing.packets
        places = [at for at in range(since, len(packets)) if connection not in excluded.get(at, _NOBODY)]
        if places:
            frames = outgoing.deflated if self._deflates and connection.deflates else outgoing.frames
            write_to([connection], b"".join(frames[at] for at in places), [packets[at] for at in places])

    def _write_chunk(self, members: list[Connection], at: int, flush: _Flush) -> None:
        chunk = members[at : at + CHUNK]
        if flush.special or flush.changes != self._changes:
            # Some have gone since the list was made, and may have come back; some have got theirs.
            come, now, special = self._members.get, self._flushes, flush.special
            chunk = [each for each in chunk if come(each, now) < now and each not in special]
        try:
            self._write(chunk, flush.outgoing)
        finally:
            # Whatever happens to one of them: the room must not fall silent.
            self._go_on(members, at, flush)

    def _go_on(self, members: list[Connection], at: int, flush: _Flush) -> None:
        if at + CHUNK < len(members):
            asyncio.get_running_loop().call_soon(self._write_chunk, members, at + CHUNK, flush)
        else:
            self._flushed()

    def _flushed(self) -> None:
        self._flushing = bool(self._packets)
        if self._packets:
            self._end.flush(self)
