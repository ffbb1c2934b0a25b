"""What the gateway keeps in a connection's environ."""

from typing import Any

from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_realtime_gateway.adapters.signed_tokens import SignedTokens
from gifchat_realtime_gateway.socketio.environ import budget_of, session_in
from gifchat_testkit import tokens


def test_all_sessions_of_a_connection_share_one_budget() -> None:
    environ: dict[str, Any] = {}
    assert budget_of(environ) is budget_of(environ)
    assert budget_of({}) is not budget_of(environ)


def test_a_session_is_found_only_in_a_valid_cookie() -> None:
    signatures = SignedTokens(["secret"])
    cookie = tokens.session_cookie("session-1", secret="secret")
    assert session_in(signatures, f"theme=dark; {SESSION_COOKIE}={cookie}; other") == "session-1"
    for cookies in ("", "theme=dark", f"{SESSION_COOKIE}=", f"{SESSION_COOKIE}={cookie}x"):
        assert session_in(signatures, cookies) is None
