"""Namespace `/chat`: rooms."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import structlog

from gifchat_chassis.client_address import rate_limit_key
from gifchat_contracts import errors, languages, socket_events
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import body
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Pid, RoomId, is_room_id, new_pid
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import BadClientEventError, Restore
from gifchat_realtime_gateway.domain.saved_session import SavedSession
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import Sockets
from gifchat_realtime_gateway.socketio.acks import Ack, joined_ack, probed_ack, refused_ack, sent_ack
from gifchat_realtime_gateway.socketio.environ import address_of, budget_of, session_of
from gifchat_realtime_gateway.socketio.overrides import GOODBYE, ChatServer, EventHandler
from gifchat_realtime_gateway.socketio.packet import EncodedJson
from gifchat_realtime_gateway.use_cases.join_room import JoinRoom
from gifchat_realtime_gateway.use_cases.leave_room import LeaveRoom
from gifchat_realtime_gateway.use_cases.restore_session import RestoreSession
from gifchat_realtime_gateway.use_cases.save_sessions import SaveSessions
from gifchat_realtime_gateway.use_cases.send_message import SendMessage

_IDENTITY = "gifchat.identity"
_IS_GUEST = "gifchat.guest"

_Answer = TypeVar("_Answer", Ack, EncodedJson)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JoinCosts:
    """What a join costs in addition to its own packet, in packets of the client's budget."""

    join: float
    opening: float
    """For a room that this node must ask rooms-api for. Given back unless the room does not exist."""


class ChatNamespace:
    """Turns client events into calls to use cases, and the results into acks."""

    def __init__(
        self,
        server: ChatServer,
        *,
        sockets: Sockets,
        join: JoinRoom,
        leave: LeaveRoom,
        send: SendMessage,
        save: SaveSessions,
        restore: RestoreSession,
        costs: JoinCosts,
    ) -> None:
        """Register with `server`."""
        self._server = server
        self._save = save
        self._costs = costs
        self._restore = restore
        self._restoring: dict[str, tuple[SavedSession, Mapping[RoomId, Position]]] = {}
        self._sockets = sockets
        self._join = join
        self._leave = leave
        self._send = send
        self._sessions: dict[str, Session] = {}
        # Register functions: the library's namespace class would call a handler again after a TypeError.
        handlers: dict[str, EventHandler] = {
            "connect": self._on_connect,
            "disconnect": self._on_disconnect,
            socket_events.JOIN: self._on_join,
            socket_events.LEAVE: partial(self._answer, self._leave_room),
            socket_events.CHAT: partial(self._answer, self._chat),
            socket_events.TYPING: partial(self._answer, self._typing),
            socket_events.PROBE: partial(self._answer, self._probe),
        }
        for event, handler in handlers.items():
            server.on(event, handler, namespace=socket_events.CHAT_NAMESPACE)
        server.on_opened[socket_events.CHAT_NAMESPACE] = self._on_opened
        server.eio.on_closed = self._on_closed

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        language = languages.language_of(environ.get("HTTP_ACCEPT_LANGUAGE"))
        request = socket_events.parse_restore(auth)
        pid, saved = (None, None) if request is None else await self._take(request, environ)
        who = self._identify(environ)
        address = rate_limit_key(address_of(environ))
        session = Session(sid, who, language, address, guest=environ[_IS_GUEST], budget=budget_of(environ))
        self._sessions[sid] = session
        if request is not None and pid is not None:
            self._server.pids[sid] = pid
            self._save.track(session, pid, guest=environ[_IS_GUEST])
            if saved is not None:
                self._restoring[sid] = (saved, request.positions)
        # Debug level: a burst of reconnects must not flood the log.
        _log.debug("connected", sid=sid, user=session.who.user_id, address=address_of(environ))

    async def _take(self, request: Restore, environ: dict[str, Any]) -> tuple[Pid, SavedSession | None]:
        """Take the client's saved session, if any. Return the new session's private id and the saved session.

        The official client reports `recovered` if it gets the same private id again. So the id stays the same only if
        the client sent its position in every room.
        """
        if request.pid is None:
            return new_pid(), None
        await self._save.settle()
        saved = await self._restore.take(request.pid, self._identify(environ).user_id, guest=environ[_IS_GUEST])
        if saved is None:
            return new_pid(), None
        environ[_IDENTITY] = saved.who
        return request.pid if saved.rooms.keys() <= request.positions.keys() else new_pid(), saved

    async def _on_opened(self, sid: str) -> None:
        session, restoring = self._sessions.get(sid), self._restoring.pop(sid, None)
        if session is not None and restoring is not None:
            saved, positions = restoring
            await self._restore.restore(session, saved, positions, partial(self._tell_refusal, session))

    def _tell_refusal(self, session: Session, room_id: RoomId, refusal: Refused) -> None:
        refused = {"room": room_id, **refused_ack(refusal, session.language)}
        self._sockets.deliver([session.sid], body(socket_events.JOIN_REFUSED, refused))

    def tell_revoked(self, connection: str) -> None:
        """Tell the client, in each of its rooms, that its session was signed out. The connection is about to close."""
        sid = self._server.manager.sid_from_eio_sid(connection, socket_events.CHAT_NAMESPACE)
        session = self._sessions.get(sid) if sid is not None else None
        if session is not None:
            for room_id in sorted(session.rooms):
                self._tell_refusal(session, room_id, Refused(errors.SESSION_REVOKED))

    def _on_closed(self, connection: str) -> None:
        sid = self._server.manager.sid_from_eio_sid(connection, socket_events.CHAT_NAMESPACE)
        session = self._sessions.get(sid) if sid is not None else None
        if session is not None:
            self._save.closing(session)

    async def _on_disconnect(self, sid: str, reason: str = "") -> None:
        session = self._sessions.pop(sid, None)
        self._restoring.pop(sid, None)
        if session is not None:
            self._save.ended(session, for_good=reason == GOODBYE)
            _log.debug("disconnected", sid=sid, user=session.who.user_id, reason=reason)
            await self._leave.disconnected(session)

    async def _on_join(self, sid: str, *data: Any) -> Ack:
        ack = await self._answer(self._join_room, sid, *data)
        # Also send an event, because the original's client does not ask for an ack.
        room = _first(data)
        if not ack["ok"] and is_room_id(room):
            self._sockets.deliver([sid], body(socket_events.JOIN_REFUSED, {"room": room, **ack}))
        return ack

    async def _join_room(self, session: Session, data: Any) -> Ack:
        request = socket_events.parse_join(data)
        opening = self._costs.opening if self._join.must_open(request.room_id) else 0.0
        self._charge(session, self._costs.join + opening)
        try:
            joined = await self._join.join(session, request)
        except Refused as refusal:
            if refusal.code is not errors.ROOM_NOT_FOUND:
                self._charge(session, -opening)
            raise
        self._charge(session, -opening)
        return joined_ack(joined, session, datetime.now(UTC))

    def _charge(self, session: Session, packets: float) -> None:
        if packets:
            self._server.charge(session.sid, socket_events.CHAT_NAMESPACE, packets)

    async def _leave_room(self, session: Session, data: Any) -> Ack:
        await self._leave.leave(session, socket_events.parse_room(data))
        return {"ok": True}

    async def _chat(self, session: Session, data: Any) -> EncodedJson:
        return sent_ack(await self._send.send(session, socket_events.parse_chat(data)))

    async def _typing(self, session: Session, data: Any) -> Ack:
        await self._send.typing(session, socket_events.parse_room(data))
        return {"ok": True}

    async def _probe(self, _session: Session, _data: Any) -> Ack:
        return probed_ack(datetime.now(UTC))

    async def _answer(
        self, handle: Callable[[Session, Any], Awaitable[_Answer]], sid: str, *data: Any
    ) -> _Answer | Ack:
        session = self._sessions.get(sid)
        if session is None:
            return refused_ack(Refused(errors.UNAVAILABLE), languages.DEFAULT_LANGUAGE)
        if session.budget.spent:
            return refused_ack(Refused(errors.RATE_LIMITED, 1.0), session.language)
        try:
            return await handle(session, _first(data))
        except BadClientEventError as error:
            return refused_ack(Refused(errors.VALIDATION_FAILED, detail=str(error)), session.language)
        except Refused as refusal:
            return refused_ack(refusal, session.language)
        except Exception:
            # Answer anyway: without an ack the client would wait until its timeout.
            _log.exception("handler_failed", sid=sid)
            return refused_ack(Refused(errors.INTERNAL), session.language)

    def _identify(self, environ: dict[str, Any]) -> Identity:
        """Return the user of the session cookie, or the guest that all sessions of this connection share."""
        known: Identity | None = environ.get(_IDENTITY)
        if known is None:
            session_id = session_of(environ)
            environ[_IS_GUEST] = session_id is None
            known = environ[_IDENTITY] = Identity.of_session(session_id or secrets.token_urlsafe(16))
        return known


def _first(data: tuple[Any, ...]) -> Any:
    return data[0] if data else None
