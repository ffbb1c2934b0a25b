"""rooms-api over HTTP."""

import uuid
from collections.abc import AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from gifchat_contracts import errors
from gifchat_contracts.events import RoomPayload
from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.ids import GifId, RoomId
from gifchat_web.ports import Caller, RoomsApiError, RoomsPage, Sort

_TIMEOUT = httpx.Timeout(10.0, connect=2.0)
_UPLOAD_TIMEOUT = httpx.Timeout(60.0, connect=2.0)
_POST_ATTEMPTS = 3
_BY_STATUS = {
    400: errors.MALFORMED,
    404: errors.NOT_FOUND,
    413: errors.PAYLOAD_TOO_LARGE,
    422: errors.VALIDATION_FAILED,
    429: errors.RATE_LIMITED,
}


class RoomsApiClient:
    """The port `RoomsApi` on one pool of connections, which carries no cookies from one user to another."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`url` is the base without `/api/v1`."""
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            timeout=_TIMEOUT,
            trust_env=False,
            transport=transport,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=3.0),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def list_rooms(self, caller: Caller, *, query: str, sort: Sort, cursor: str | None) -> RoomsPage:
        """One page of the rooms whose title has `query` in it."""
        wanted = {"q": query, "cursor": cursor, "sort": sort}
        page = await self._ask(caller, "GET", "/rooms", params={name: value for name, value in wanted.items() if value})
        return RoomsPage(page["items"], page["next_cursor"])

    async def get_room(self, caller: Caller, room_id: RoomId) -> RoomPayload:
        """The room; `ROOM_NOT_FOUND`."""
        room: RoomPayload = await self._ask(caller, "GET", f"/rooms/{room_id}")
        return room

    async def create_room(self, caller: Caller, title: str, max_members: int, password: str | None) -> RoomPayload:
        """A new room that the caller owns; `VALIDATION_FAILED`."""
        body = {"title": title, "max": max_members} | ({"password": password} if password else {})
        room: RoomPayload = await self._ask(caller, "POST", "/rooms", json=body)
        return room

    async def remove_room(self, caller: Caller, room_id: RoomId) -> None:
        """Remove the caller's room; `ROOM_NOT_FOUND`, `NOT_OWNER`."""
        await self._ask(caller, "DELETE", f"/rooms/{room_id}")

    async def admit(self, caller: Caller, room_id: RoomId, password: str | None) -> RoomPayload:
        """Ask whether the caller may enter now."""
        body = {} if password is None else {"password": password}
        answer = await self._ask(caller, "POST", f"/rooms/{room_id}/tickets", json=body)
        room: RoomPayload = answer["room"]
        return room

    async def post_text(self, caller: Caller, room_id: RoomId, text: str) -> None:
        """Post a text, once; returns when it is stored."""
        await self._post_message(caller, room_id, {"text": text})

    async def upload_gif(
        self, caller: Caller, room_id: RoomId, content_type: str, content_length: str | None, body: AsyncIterator[bytes]
    ) -> GifId:
        """Pass a multipart body on as it arrives; it has the file in the field `gif`."""
        headers = {"Content-Type": content_type} | ({"Content-Length": content_length} if content_length else {})
        stored = await self._ask(
            caller, "POST", f"/rooms/{room_id}/gifs", content=body, headers=headers, timeout=_UPLOAD_TIMEOUT
        )
        return GifId(stored["id"])

    async def post_gif(self, caller: Caller, room_id: RoomId, gif_id: GifId) -> None:
        """Post a GIF that was uploaded, once; returns when it is stored."""
        await self._post_message(caller, room_id, {"gif": gif_id})

    async def _post_message(self, caller: Caller, room_id: RoomId, content: dict[str, str]) -> None:
        """A form's sender has no key to repeat the request with, so it is repeated here, with one key."""
        body = {"client_message_id": str(uuid.uuid4()), **content}
        for attempt in range(1, _POST_ATTEMPTS + 1):
            try:
                await self._ask(caller, "POST", f"/rooms/{room_id}/messages", json=body)
            except RoomsApiError as error:
                if error.code.status != 503 or attempt == _POST_ATTEMPTS:
                    raise
            else:
                return

    async def _ask(
        self, caller: Caller, method: str, path: str, *, headers: dict[str, str] | None = None, **request: Any
    ) -> Any:
        """The JSON of a good answer; None where it has no body."""
        on_behalf = {
            "Cookie": f"{SESSION_COOKIE}={caller.session_cookie}",
            "X-Forwarded-For": caller.address,
            "Accept-Language": caller.language,
        }
        try:
            answer = await self._http.request(method, path, headers={**on_behalf, **(headers or {})}, **request)
            if answer.is_success:
                return answer.json() if answer.content else None
            problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        except (httpx.HTTPError, ValueError) as error:
            raise RoomsApiError(errors.UNAVAILABLE) from error
        code = errors.TABLE.get(problem.get("code", "")) if isinstance(problem, dict) else None
        fallback = _BY_STATUS.get(answer.status_code, errors.UNAVAILABLE)
        raise RoomsApiError(code or fallback, answer.headers.get("retry-after"))
