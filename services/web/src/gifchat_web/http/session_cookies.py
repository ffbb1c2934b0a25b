"""The session cookie, which identifies a browser from its first page onwards.

The cookie holds a signed random session id. Only web issues it. rooms-api and the gateways verify it.
"""

import secrets
from collections.abc import Container, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gifchat_chassis.session_cookie import SessionReader, TokenSigner
from gifchat_contracts.identity import SESSION_COOKIE, SESSION_SALT, SESSION_TTL_S, Identity
from gifchat_contracts.ids import UserId


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session."""

    identity: Identity
    cookie: str
    """The signed value, as web sends it to rooms-api."""
    fresh: bool
    """Whether to set `cookie`: the browser's is missing, invalid, past half its life, or signed by an old secret."""


class SessionCookies:
    """Issues, verifies and renews session cookies."""

    def __init__(self, session_secrets: Sequence[str], *, secure: bool) -> None:
        """`session_secrets` go from oldest to newest. The last one signs, and all of them verify."""
        self._signer = TokenSigner(session_secrets, SESSION_SALT)
        self._valid = SessionReader(session_secrets)
        # A valid cookie that this reader rejects is renewed.
        self._young = SessionReader(session_secrets[-1:], SESSION_TTL_S // 2)
        self._secure = secure

    def issue(self) -> Session:
        """Return a new session."""
        return self._signed(secrets.token_urlsafe(16))

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, or None if it is missing, forged, expired or signed by an unknown secret."""
        if not cookie:
            return None
        # Most cookies are young, and verifying one twice costs as much as the rest of this method.
        session_id = self._young.session_of(cookie)
        if session_id is not None:
            return Session(Identity.of_session(session_id), cookie, fresh=False)
        session_id = self._valid.session_of(cookie)
        return None if session_id is None else self._signed(session_id)

    def set_cookie_header(self, session: Session) -> str:
        """Return the `Set-Cookie` value that gives a browser its session."""
        secure = "; Secure" if self._secure else ""
        return f"{SESSION_COOKIE}={session.cookie}; Max-Age={SESSION_TTL_S}; Path=/; HttpOnly; SameSite=Lax{secure}"

    def end_cookie_header(self) -> str:
        """Return the `Set-Cookie` value that removes the session from a browser."""
        secure = "; Secure" if self._secure else ""
        return f"{SESSION_COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax{secure}"

    def _signed(self, session_id: str) -> Session:
        return Session(Identity.of_session(session_id), self._signer.sign(session_id), fresh=True)


class Sessions:
    """ASGI middleware that stores the `Session` in `scope["state"]["session"]` and gives new browsers their cookie."""

    def __init__(
        self, app: ASGIApp, cookies: SessionCookies, without: Sequence[str], revoked: Container[UserId] = ()
    ) -> None:
        """Paths that start with one of `without`, such as files and probes, get no session.

        Sessions of `revoked` users were signed out, so their browsers get new ones.
        """
        self._revoked = revoked
        self._app = app
        self._cookies = cookies
        self._without = tuple(without)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith(self._without):
            await self._app(scope, receive, send)
            return
        # rooms-api and the gateways use this parser too. It finds our cookie even in a malformed header.
        cookies = cookie_parser("; ".join(Headers(scope=scope).getlist("cookie")))
        session = self._cookies.read(cookies.get(SESSION_COOKIE))
        if session is None or session.identity.user_id in self._revoked:
            session = self._cookies.issue()
        state = scope.setdefault("state", {})
        state["session"] = session

        async def send_with_cookie(message: Message) -> None:
            # A route that signs the browser out sets the session to None.
            ended = state["session"] is None
            if message["type"] == "http.response.start" and (session.fresh or ended):
                cookie = self._cookies.end_cookie_header() if ended else self._cookies.set_cookie_header(session)
                message["headers"] = [*message["headers"], (b"set-cookie", cookie.encode())]
            await send(message)

        await self._app(scope, receive, send_with_cookie)
