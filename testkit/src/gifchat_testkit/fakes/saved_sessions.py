"""Saved sessions in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gifchat_contracts.ids import Pid, UserId
from gifchat_realtime_gateway.domain.saved_session import SavedSession
from gifchat_realtime_gateway.ports import ToSave


@dataclass
class FakeSavedSessions:
    """`ports.SavedSessions`, shared by all nodes; it does not answer while `down`. `clock` is in seconds."""

    clock: Callable[[], float]
    down: bool = False
    saved: dict[str, tuple[SavedSession, float]] = field(default_factory=dict)
    """Private id → session and expiry."""
    calls: list[list[ToSave]] = field(default_factory=list)
    """All saved batches."""

    async def save(self, sessions: Sequence[ToSave]) -> bool:
        """See the port."""
        if self.down:
            return False
        self.calls.append(list(sessions))
        for pid, session, kept_s, takes_over in sessions:
            owner = self._of(pid)
            if not takes_over and owner is not None and owner.sid != session.sid:
                continue
            self.saved[pid] = (SavedSession.from_json(session.as_json()), self.clock() + kept_s)
        return True

    async def take(self, pid: Pid, user_id: UserId, *, guest: bool) -> SavedSession | None:
        """See the port."""
        found = None if self.down else self._of(pid)
        if found is None or (found.who.user_id != user_id and not (found.guest and guest)):
            return None
        del self.saved[pid]
        return found

    def _of(self, pid: Pid) -> SavedSession | None:
        session, until_s = self.saved.get(pid, (None, 0.0))
        return session if self.clock() < until_s else None
