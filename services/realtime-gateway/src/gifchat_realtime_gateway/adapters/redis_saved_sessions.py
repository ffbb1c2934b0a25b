"""Saved sessions in Redis or Valkey: one expiring hash per session."""

from collections.abc import Sequence
from importlib.resources import files

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_contracts import keys
from gifchat_contracts.ids import Pid, UserId
from gifchat_realtime_gateway.domain.saved_session import SavedSession
from gifchat_realtime_gateway.ports import ToSave

_log = structlog.get_logger(__name__)


class RedisSavedSessions:
    """`ports.SavedSessions`."""

    def __init__(self, redis: Redis) -> None:
        """`redis` needs a `socket_timeout`."""
        self._redis = redis
        folder = files("gifchat_realtime_gateway.adapters") / "lua"
        self._save, self._take = (
            redis.register_script((folder / f"{name}_session.lua").read_text(encoding="utf-8"))
            for name in ("save", "take")
        )

    async def save(self, sessions: Sequence[ToSave]) -> bool:
        """See `ports.SavedSessions`. Uses one pipeline."""
        pipeline = self._redis.pipeline(transaction=False)
        try:
            for pid, session, kept_s, takes_over in sessions:
                args: list[str | int] = [session.sid, int(takes_over), session.who.user_id, int(session.guest)]
                args += [session.as_json(), round(kept_s * 1000)]
                await self._save([keys.saved_session(pid)], args, client=pipeline)
            await pipeline.execute()
        except (RedisError, OSError) as error:
            _log.warning("sessions_not_saved", sessions=len(sessions), error=str(error))
            return False
        return True

    async def take(self, pid: Pid, user_id: UserId, *, guest: bool) -> SavedSession | None:
        try:
            content: bytes | None = await self._take([keys.saved_session(pid)], [user_id, int(guest)])
            return None if content is None else SavedSession.from_json(content.decode())
        except (RedisError, OSError, ValueError) as error:
            _log.warning("session_not_restored", error=str(error))
            return None
