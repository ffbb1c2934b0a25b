"""Save the rooms of each session, so that `restore_session` can put its client back into them.

A session is saved whenever its rooms change, because a killed gateway cannot save it. When a session ends, the saved
session expires with the grace of its seats.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gifchat_contracts.ids import Pid, RoomId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.saved_session import SavedRoom, SavedSession
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import SavedSessions, ToSave

SAVE_EVERY_S = 0.02
"""Minimum time between two batches. A single change is saved at once, a burst of changes together."""
SESSIONS_PER_BATCH = 500
LOOK_EVERY_S = 60.0
"""How often to look for sessions that must be saved again."""
KEPT_S = 3_600.0
"""How long the store keeps a live session, which is saved again long before."""
AGAIN_AFTER_S = KEPT_S / 3
RETRY_AFTER_S = 0.5


@dataclass(slots=True)
class _Tracked:
    pid: Pid
    guest: bool
    takes_over: bool = True
    """True until the first save: the client's last session may still own the private id."""
    at_end: dict[RoomId, Position] = field(default_factory=dict)


class SaveSessions:
    """Saves in batches, so that a burst of joins costs at most 50 pipelines a second."""

    def __init__(
        self,
        saved: SavedSessions,
        rooms: Mapping[RoomId, HostedRoom],
        *,
        own_tag: str,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`own_tag` is this node's tag; `grace_s`: how long an ended session can be restored."""
        self._saved = saved
        self._rooms = rooms
        self._own_tag = own_tag
        self._grace_s = grace_s
        self._clock = clock
        self._tracked: dict[str, _Tracked] = {}
        """By Socket.IO sid."""
        self._changed: dict[str, Session] = {}
        self._ended: list[ToSave] = []
        self._again: OrderedDict[str, tuple[float, Session]] = OrderedDict()
        """By Socket.IO sid: when to save the session again, soonest first."""
        self._wanted = asyncio.Event()

    def track(self, session: Session, pid: Pid, *, guest: bool) -> None:
        """Save the session's rooms under `pid` from now on."""
        self._tracked[session.sid] = _Tracked(pid, guest)
        session.on_change = self._on_change

    def closing(self, session: Session) -> None:
        """Record the rooms' positions when the connection closes. All events up to them were written to it."""
        tracked = self._tracked.get(session.sid)
        if tracked is not None:
            tracked.at_end = {
                room_id: self._rooms[room_id].stream.position for room_id in session.rooms if room_id in self._rooms
            }

    def ended(self, session: Session, *, for_good: bool) -> None:
        """Save the session as ended. `for_good`: its client disconnected on purpose, so delete it."""
        tracked = self._tracked.pop(session.sid, None)
        self._changed.pop(session.sid, None)
        self._again.pop(session.sid, None)
        session.on_change = None
        # A session that was never in a room was never saved.
        if tracked is not None and (session.rooms or not tracked.takes_over):
            kept_s = 0.0 if for_good else self._grace_s
            self._ended.append(ToSave(tracked.pid, self._as_saved(session, tracked, ended=True), kept_s))
            self._wanted.set()

    async def run(self) -> None:
        """Save what changed, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wanted.wait()
            self._wanted.clear()
            self.look()
            await asyncio.sleep(SAVE_EVERY_S if await self.save() else RETRY_AFTER_S)
            if self._changed or self._ended:
                self._wanted.set()

    def look(self) -> None:
        """Mark live sessions that must be saved again before they expire in the store."""
        while self._again:
            sid, (at_s, session) = next(iter(self._again.items()))
            if at_s > self._clock():
                return
            del self._again[sid]
            self._on_change(session)

    async def settle(self) -> None:
        """Save all ended sessions now, because a client asks for one of them or this node is stopping."""
        while self._ended and await self.save():
            pass

    async def save(self) -> bool:
        """Save a batch now; return False if that failed. Live sessions are then retried."""
        batch, self._ended = self._ended[:SESSIONS_PER_BATCH], self._ended[SESSIONS_PER_BATCH:]
        sids = list(self._changed)[:SESSIONS_PER_BATCH]
        sessions = [self._changed.pop(sid) for sid in sids]
        for session in sessions:
            tracked = self._tracked[session.sid]
            saving = self._as_saved(session, tracked, ended=False)
            batch.append(ToSave(tracked.pid, saving, KEPT_S, tracked.takes_over))
        if not await self._saved.save(batch):
            # Do not retry ended sessions: a late retry could make them restorable after their grace.
            self._changed = {session.sid: session for session in sessions if session.sid in self._tracked} | (
                self._changed
            )
            return False
        again_at_s = self._clock() + AGAIN_AFTER_S
        for session in sessions:
            tracked_still = self._tracked.get(session.sid)
            if tracked_still is not None:
                tracked_still.takes_over = False
                self._again[session.sid] = (again_at_s, session)
                self._again.move_to_end(session.sid)
        return True

    def _on_change(self, session: Session) -> None:
        if session.sid in self._tracked:
            self._changed[session.sid] = session
            self._wanted.set()

    def _as_saved(self, session: Session, tracked: _Tracked, *, ended: bool) -> SavedSession:
        rooms = {
            room_id: SavedRoom(session.admissions[room_id], tracked.at_end.get(room_id)) for room_id in session.rooms
        }
        return SavedSession(session.sid, session.who, tracked.guest, self._own_tag, ended, rooms)
