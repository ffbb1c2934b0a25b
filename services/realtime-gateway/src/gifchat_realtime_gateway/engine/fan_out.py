"""Send one event to many connections: encode it once, frame it once, and write it in a tight loop.

Write combining: a group writes its packets at the end of the event loop's turn. Packets of the same turn become one
write per member. A single packet is still sent in the same turn. In a busy room, turns take longer, so more packets
are combined and each delivery costs less.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gifchat_realtime_gateway.engine.connection import Connection
from gifchat_realtime_gateway.engine.websocket import deflated_frame, text_frame
from gifchat_realtime_gateway.engine.write_loop import BROKEN, NOT_WRITABLE, write_all

CHUNK_SIZE = 2_000
"""Connections written to in one turn of the loop, about 20 ms."""

_NO_CONNECTIONS: frozenset[Connection] = frozenset()


def write_to(connections: list[Connection], data: bytes, packets: Sequence[bytes]) -> int:
    """Write the frames `data`, which contain `packets`, to each connection. Returns the number of connections."""
    for index, sent in write_all(connections, data):
        connection = connections[index]
        if sent == NOT_WRITABLE:
            connection.send_frame(data, packets)
        elif sent != BROKEN and connection.link is not None:
            connection.link.write_remainder(data[sent:] if sent else data)
        # Nothing to do for a broken socket: its transport notices the error and closes the connection.
    return len(connections)


class FlushScheduler:
    """Flushes groups at the end of the event loop's turn, with one callback for all of them."""

    def __init__(self) -> None:
        self._groups: list[Group] = []

    def schedule(self, group: "Group") -> None:
        """Flush the group at the end of this turn."""
        if not self._groups:
            asyncio.get_running_loop().call_soon(self._flush_all)
        self._groups.append(group)

    def _flush_all(self) -> None:
        groups, self._groups = self._groups, []
        for group in groups:
            try:
                group.flush()
            except Exception as error:
                # A failure in one group must not silence the others.
                context = {"message": "flushing a group failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)


class _Batch:
    """Packets that are written together. They are compressed at most once, and only if a member accepts compression."""

    __slots__ = ("_deflated", "frames", "packets")

    def __init__(self, packets: list[bytes], frames: list[bytes]) -> None:
        self.packets = packets
        self.frames = frames
        self._deflated: list[bytes] | None = None

    @property
    def deflated(self) -> list[bytes]:
        if self._deflated is None:
            self._deflated = [deflated_frame(packet) for packet in self.packets]
        return self._deflated


def _join(frames: list[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"".join(frames)


class _ChunkedFlush(NamedTuple):
    """A batch that is written chunk by chunk."""

    batch: _Batch
    done: Collection[Connection]
    """Members that must not get the whole batch. They have already received their part."""
    membership_version: int
    """The group's version when the flush began."""


class Group:
    """Connections that receive the same packets in the same order, each from the moment it joins."""

    def __init__(self, scheduler: FlushScheduler, *, deflates: bool = False) -> None:
        """`deflates`: members may accept compressed messages."""
        self._scheduler = scheduler
        self._deflates = deflates
        self._members: dict[Connection, int] = {}
        """Each member with the value of `_flush_count` when it joined."""
        self._flush_count = 0
        """Flushes begun so far."""
        self._membership_version = 0
        """Counts joins and leaves."""
        self._packets: list[bytes] = []
        self._frames: list[bytes] = []
        self._excluded: dict[int, frozenset[Connection]] = {}
        """Excluded connections, by pending-packet index."""
        self._late_joiners: dict[Connection, int] = {}
        """Members that joined while packets were pending, with the number of pending packets that they must not get."""
        self._flush_pending = False
        """Whether a flush is scheduled or in progress."""

    def __len__(self) -> int:
        return len(self._members)

    def add(self, connection: Connection) -> None:
        """Add a member; a no-op if it already is one. It gets every packet that is sent from now on."""
        if connection in self._members:
            return
        self._members[connection] = self._flush_count
        self._membership_version += 1
        if self._packets:
            self._late_joiners[connection] = len(self._packets)

    def discard(self, connection: Connection) -> None:
        """Remove a member; a no-op if it is not one. It gets no more packets, not even pending ones."""
        if self._members.pop(connection, None) is not None:
            self._membership_version += 1
        self._late_joiners.pop(connection, None)

    def send(self, packet: bytes, exclude: Collection[Connection] = ()) -> None:
        """Send one packet, in UTF-8, to all members except `exclude`."""
        if not self._members:
            return
        if exclude:
            self._excluded[len(self._packets)] = frozenset(exclude)
        self._packets.append(packet)
        self._frames.append(text_frame(packet))
        if not self._flush_pending:
            self._flush_pending = True
            self._scheduler.schedule(self)

    def flush(self) -> None:
        """Write the pending packets. A large group gets its first chunk now and the others in later turns."""
        self._flush_count += 1
        packets, self._packets = self._packets, []
        frames, self._frames = self._frames, []
        batch = _Batch(packets, frames)
        members = list(self._members)
        if not self._late_joiners and not self._excluded:
            if len(members) <= CHUNK_SIZE:
                try:
                    self._write(members, batch)
                finally:
                    self._finish_flush()
                return
            self._write_chunk(members, 0, _ChunkedFlush(batch, _NO_CONNECTIONS, self._membership_version))
            return
        excluded, self._excluded = self._excluded, {}
        late_joiners, self._late_joiners = self._late_joiners, {}
        partial = set(late_joiners).union(*excluded.values())
        flush = _ChunkedFlush(batch, partial, self._membership_version)
        try:
            for connection in partial:
                if connection in self._members:
                    self._write_partial(connection, batch, late_joiners.get(connection, 0), excluded)
        finally:
            self._write_chunk(members, 0, flush)

    def _write(self, members: list[Connection], batch: _Batch) -> None:
        deflating = [each for each in members if each.deflates] if self._deflates else ()
        if deflating:
            members = [each for each in members if not each.deflates]
        write_to(members, _join(batch.frames), batch.packets)
        if deflating:
            write_to(deflating, _join(batch.deflated), batch.packets)

    def _write_partial(
        self, connection: Connection, batch: _Batch, since: int, excluded: dict[int, frozenset[Connection]]
    ) -> None:
        packets = batch.packets
        indexes = [at for at in range(since, len(packets)) if connection not in excluded.get(at, _NO_CONNECTIONS)]
        if indexes:
            frames = batch.deflated if self._deflates and connection.deflates else batch.frames
            write_to([connection], b"".join(frames[at] for at in indexes), [packets[at] for at in indexes])

    def _write_chunk(self, members: list[Connection], at: int, flush: _ChunkedFlush) -> None:
        chunk = members[at : at + CHUNK_SIZE]
        if flush.done or flush.membership_version != self._membership_version:
            # Skip members that got their part, and those that left since the flush began, even if they have rejoined.
            joined_at, now, done = self._members.get, self._flush_count, flush.done
            chunk = [each for each in chunk if joined_at(each, now) < now and each not in done]
        try:
            self._write(chunk, flush.batch)
        finally:
            # Continue even if this chunk fails: the other members must still get their packets.
            if at + CHUNK_SIZE < len(members):
                asyncio.get_running_loop().call_soon(self._write_chunk, members, at + CHUNK_SIZE, flush)
            else:
                self._finish_flush()

    def _finish_flush(self) -> None:
        self._flush_pending = bool(self._packets)
        if self._packets:
            self._scheduler.schedule(self)
