"""Call rooms-api over HTTP."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

import aiohttp

from gifchat_chassis.internal_token import InternalToken
from gifchat_chassis.revocations import Revocation, RevocationsUnavailableError, page_from_json
from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.ids import GifId, RoomId
from gifchat_web.ports import Caller, RoomsPage, Sort

TIMEOUT_S = 10.0
UPLOAD_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 2.0
KEEPALIVE_S = 3.0
"""uvicorn closes idle connections after 5 s. This is less, so that no request is sent on a closing connection."""
MAX_CONNECTIONS = 200

_POST_ATTEMPTS = 3
_BY_STATUS = {
    400: errors.MALFORMED,
    404: errors.NOT_FOUND,
    413: errors.PAYLOAD_TOO_LARGE,
    422: errors.VALIDATION_FAILED,
    429: errors.RATE_LIMITED,
}


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=seconds, sock_connect=CONNECT_TIMEOUT_S, sock_read=seconds)


class RoomsApiClient:
    """Implements `RoomsApi` with one connection pool. It stores no cookies, so users never share one."""

    _http: aiohttp.ClientSession
    """Created on entry, because it belongs to the running event loop."""

    def __init__(self, url: str, internal_token: str) -> None:
        """`url` is the base without `/api/v1`. The token is for the internal endpoint alone."""
        self._url = f"{url.rstrip('/')}/api/v1"
        self._internal_url = f"{url.rstrip('/')}/internal/v1"
        self._authorization = InternalToken(internal_token).authorization

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            timeout=_timeout(TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._http.close()

    async def sign_out(self, caller: Caller) -> None:
        await self._ask(caller, "DELETE", "/session")

    async def revocations(self, since_ms: int) -> Sequence[Revocation]:
        """See `gifchat_chassis.revocations.ReadRevocations`."""
        url, headers = f"{self._internal_url}/revocations", {"Authorization": self._authorization}
        try:
            async with self._http.get(url, params={"since_ms": since_ms}, headers=headers) as answer:
                answer.raise_for_status()
                return page_from_json(await answer.json())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise RevocationsUnavailableError(f"{type(error).__name__}: {error}") from error

    async def list_rooms(self, caller: Caller, *, query: str, sort: Sort, cursor: str | None) -> RoomsPage:
        wanted = {"q": query, "cursor": cursor, "sort": sort}
        page = await self._ask(caller, "GET", "/rooms", params={name: value for name, value in wanted.items() if value})
        return RoomsPage(page["items"], page["next_cursor"])

    async def get_room(self, caller: Caller, room_id: RoomId) -> RoomPayload:
        room: RoomPayload = await self._ask(caller, "GET", f"/rooms/{room_id}")
        return room

    async def create_room(self, caller: Caller, title: str, max_members: int, password: str | None) -> RoomPayload:
        body = {"title": title, "max": max_members} | ({"password": password} if password else {})
        room: RoomPayload = await self._ask(caller, "POST", "/rooms", json=body)
        return room

    async def remove_room(self, caller: Caller, room_id: RoomId) -> None:
        await self._ask(caller, "DELETE", f"/rooms/{room_id}")

    async def admit(self, caller: Caller, room_id: RoomId, password: str | None) -> RoomPayload:
        body = {} if password is None else {"password": password}
        answer = await self._ask(caller, "POST", f"/rooms/{room_id}/tickets", json=body)
        room: RoomPayload = answer["room"]
        return room

    async def post_text(self, caller: Caller, room_id: RoomId, text: str) -> None:
        await self._post_message(caller, room_id, {"text": text})

    async def upload_gif(
        self, caller: Caller, room_id: RoomId, content_type: str, content_length: str | None, body: AsyncIterator[bytes]
    ) -> GifId:
        headers = {"Content-Type": content_type} | ({"Content-Length": content_length} if content_length else {})
        path, timeout = f"/rooms/{room_id}/gifs", _timeout(UPLOAD_TIMEOUT_S)
        try:
            async with asyncio.timeout(None) as stall:
                sent = _bounded(body, stall, UPLOAD_TIMEOUT_S)
                stored = await self._ask(caller, "POST", path, data=sent, headers=headers, timeout=timeout)
        except TimeoutError as error:
            raise Refused(errors.UNAVAILABLE) from error
        return GifId(stored["id"])

    async def post_gif(self, caller: Caller, room_id: RoomId, gif_id: GifId) -> None:
        await self._post_message(caller, room_id, {"gif": gif_id})

    async def _post_message(self, caller: Caller, room_id: RoomId, content: dict[str, str]) -> None:
        """Retry here, with one idempotency key, because a form cannot repeat its request with the same key."""
        body = {"client_message_id": str(uuid.uuid4()), **content}
        for attempt in range(1, _POST_ATTEMPTS + 1):
            try:
                await self._ask(caller, "POST", f"/rooms/{room_id}/messages", json=body)
            except Refused as error:
                if error.code.status != 503 or attempt == _POST_ATTEMPTS:
                    raise
            else:
                return

    async def _ask(
        self, caller: Caller, method: str, path: str, *, headers: dict[str, str] | None = None, **request: Any
    ) -> Any:
        """Return the JSON of a successful answer, or None if it has no body."""
        sent = {
            "Cookie": f"{SESSION_COOKIE}={caller.session_cookie}",
            "X-Forwarded-For": caller.address,
            "Accept-Language": caller.language,
            **(headers or {}),
        }
        url = f"{self._url}{path}"
        try:
            async with self._http.request(method, url, headers=sent, allow_redirects=False, **request) as answer:
                content = await answer.read()
            if 200 <= answer.status < 300:
                return json.loads(content) if content else None
            problem = json.loads(content) if "json" in answer.content_type else {}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Refused(errors.UNAVAILABLE) from error
        code = errors.TABLE.get(problem.get("code", "")) if isinstance(problem, dict) else None
        fallback = _BY_STATUS.get(answer.status, errors.UNAVAILABLE)
        seconds = answer.headers.get("retry-after", "")
        raise Refused(code or fallback, float(seconds) if seconds.isdecimal() else None)


async def _bounded(body: AsyncIterator[bytes], stall: asyncio.Timeout, seconds: float) -> AsyncIterator[bytes]:
    """Limit how long rooms-api may take to accept one chunk. aiohttp's own timeouts start only after the whole body."""
    now = asyncio.get_running_loop().time
    async for chunk in body:
        stall.reschedule(now() + seconds)
        yield chunk
        stall.reschedule(None)
