"""HTTP clients of an attacker."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from abuse.attack import Stage
from gifchat_contracts.identity import SESSION_COOKIE

TIMEOUT_S = 15.0


@asynccontextmanager
async def attacker_http(stage: Stage, cookie: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """Create a client at the attacker's address, without a limit on its connections. It keeps no cookies."""
    async with aiohttp.ClientSession(
        base_url=stage.url,
        connector=aiohttp.TCPConnector(limit=0, local_addr=(stage.address, 0)),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Cookie": cookie} if cookie else {},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as http:
        yield http


async def new_cookie(http: aiohttp.ClientSession) -> str | None:
    """Create a user and return the session cookie; None if that is refused."""
    async with http.post("/api/v1/session") as answer:
        morsel = answer.cookies.get(SESSION_COOKIE)
        return f"{SESSION_COOKIE}={morsel.value}" if morsel is not None else None


async def ask(
    stage: Stage, http: aiohttp.ClientSession, method: str, path: str, done: str, **request: Any
) -> Mapping[str, Any] | None:
    """Send a request and count it: as `done` if it succeeds, else by the code of the refusal or the error.

    Returns:
        The answer's JSON object; None if it has none, or if it is a refusal.
    """
    try:
        async with http.request(method, path, **request) as answer:
            body = await answer.json(content_type=None)
            if answer.ok:
                stage.findings[done] += 1
                return body if isinstance(body, dict) else None
            code = body["code"] if isinstance(body, dict) and "code" in body else answer.status
            stage.findings[f"refused with {code}"] += 1
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        stage.findings[type(error).__name__] += 1
    return None
