"""Values in a connection's `environ`, which all its Socket.IO sessions share."""

from typing import Any

from starlette.requests import cookie_parser

from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_realtime_gateway.domain.session import Budget
from gifchat_realtime_gateway.engine.handshake import SESSION_ID
from gifchat_realtime_gateway.ports import Signatures

_BUDGET = "gifchat.budget"


def budget_of(environ: dict[str, Any]) -> Budget:
    """Return the connection's budget of events, which all its sessions share."""
    budget: Budget = environ.setdefault(_BUDGET, Budget())
    return budget


def address_of(environ: dict[str, Any]) -> str:
    """Return the client's address, as reported by the trusted proxies."""
    return str(environ["REMOTE_ADDR"])


def session_of(environ: dict[str, Any]) -> str | None:
    """Return the id of the user's session, or None for a guest."""
    session_id: str | None = environ.get(SESSION_ID)
    return session_id


def session_in(signatures: Signatures, cookies: str) -> str | None:
    """Return the id of the user's session in a `Cookie` header, or None if the cookie is missing or invalid.

    Parses cookies as leniently as the web service does.
    """
    cookie = cookie_parser(cookies).get(SESSION_COOKIE)
    return signatures.session_of(cookie) if cookie else None
