"""Call the internal routes of rooms-api over HTTP."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from gifchat_chassis.revocations import Revocation, RevocationsUnavailableError, page_from_json
from gifchat_contracts import errors, events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import SendGif, SendText
from gifchat_realtime_gateway.domain.room_record import FOREVER, Forever, LogPage, RoomRecord
from gifchat_realtime_gateway.ports import EncodedMessage, HistoryUnavailableError

TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
KEEPALIVE_S = 4.0
"""Less than the 5 s after which uvicorn closes idle connections, so that no request is sent on a closing one."""
MAX_CONNECTIONS = 100
JSON_TYPE = "application/json"

_NO_ANSWER = (aiohttp.ClientError, TimeoutError)


class RoomsApiClient:
    """`ports.RoomHistory` and `ports.MessageRelay`."""

    def __init__(self, base_url: str, internal_token: str) -> None:
        self._url = f"{base_url.rstrip('/')}/internal/v1"
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {internal_token}"},
            timeout=aiohttp.ClientTimeout(connect=TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            # rooms-api does not read these headers, and writing them costs time for each message.
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def aclose(self) -> None:
        await self._http.close()

    async def record(self, room_id: RoomId) -> RoomRecord:
        with _readable():
            return _record(await self._read("GET", f"/rooms/{room_id}"))

    async def records(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, RoomRecord]:
        with _readable():
            answer = await self._read("POST", "/records", json={"rooms": list(room_ids)})
            return {RoomId(room_id): _record(record) for room_id, record in answer["records"].items()}

    async def newest(self, room_id: RoomId, limit: int) -> LogPage:
        with _readable():
            return _page(await self._read("GET", f"/rooms/{room_id}/log", params={"newest": limit}))

    async def after(self, room_id: RoomId, seq: int, limit: int) -> LogPage:
        with _readable():
            return _page(await self._read("GET", f"/rooms/{room_id}/log", params={"after": seq, "limit": limit}))

    async def before(self, room_id: RoomId, seq: int, limit: int) -> LogPage:
        with _readable():
            return _page(await self._read("GET", f"/rooms/{room_id}/log", params={"before": seq, "limit": limit}))

    async def heads(self, room_ids: Collection[RoomId]) -> Mapping[RoomId, Position]:
        with _readable():
            answer = await self._read("POST", "/heads", json={"rooms": list(room_ids)})
            return {RoomId(room_id): Position.from_json(position) for room_id, position in answer["heads"].items()}

    async def relay(self, message: SendText | SendGif, sender: Identity, address: str) -> EncodedMessage:
        match message:
            case SendText(text=text):
                content = {"text": text}
            case SendGif(gif_id=gif_id):
                content = {"gif": gif_id}
        body = {
            **content,
            "client_message_id": message.client_message_id,
            "user_id": sender.user_id,
            "color": sender.color,
            "address": address,
        }
        try:
            answer = await self._ask("POST", f"/rooms/{message.room_id}/messages", json=body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Refused(errors.UNAVAILABLE, detail=str(error)) from error
        except _NO_ANSWER as error:
            raise Refused(errors.OUTCOME_UNKNOWN, detail=str(error)) from error
        if answer.status != HTTPStatus.CREATED:
            raise _refusal(answer)
        return _message(answer)

    async def revocations(self, since_ms: int) -> Sequence[Revocation]:
        """See `gifchat_chassis.revocations.ReadRevocations`."""
        try:
            return page_from_json(await self._read("GET", "/revocations", params={"since_ms": since_ms}))
        except (HistoryUnavailableError, Refused, ValueError) as error:
            raise RevocationsUnavailableError(str(error)) from error

    async def _read(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = await self._ask(method, path, **more)
        except _NO_ANSWER as error:
            raise HistoryUnavailableError(f"{type(error).__name__}: {error}") from error
        if answer.status == HTTPStatus.OK:
            return json.loads(answer.content)
        refusal = _refusal(answer)
        if refusal.code is errors.ROOM_NOT_FOUND:
            raise refusal
        raise HistoryUnavailableError(f"rooms-api answered {answer.status}")

    async def _ask(self, method: str, path: str, **more: Any) -> "_Answer":
        async with self._http.request(method, f"{self._url}{path}", allow_redirects=False, **more) as answer:
            return _Answer(answer.status, answer.headers, await answer.read())


@dataclass(frozen=True, slots=True)
class _Answer:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@contextmanager
def _readable() -> Iterator[None]:
    """Translate the errors that an unexpected answer causes. Another program may be listening at this address."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryUnavailableError(f"rooms-api's answer cannot be read: {error!r}") from error


def _refusal(answer: _Answer) -> Refused:
    try:
        problem = json.loads(answer.content)
        code = errors.TABLE[problem["code"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Refused(errors.UNAVAILABLE, detail=f"rooms-api answered {answer.status}")
    retry_after = answer.headers.get("retry-after", "")
    return Refused(
        code,
        float(retry_after) if retry_after.isdecimal() else None,
        problem.get("detail"),
        whole_address=answer.headers.get(errors.WHOLE_ADDRESS_HEADER) == "1",
    )


def _message(answer: _Answer) -> EncodedMessage:
    """Return the stored message without parsing it, because the ack carries it as it is."""
    unreadable = Refused(errors.OUTCOME_UNKNOWN, detail="rooms-api's answer cannot be read")
    if answer.headers.get("content-type") != JSON_TYPE:
        raise unreadable
    try:
        return EncodedMessage(answer.content.decode())
    except UnicodeDecodeError as error:
        raise unreadable from error


def _record(answer: Mapping[str, Any]) -> RoomRecord:
    return RoomRecord(
        room=answer["room"],
        epoch=Epoch(answer["epoch"]),
        access_version=answer["access_version"],
        banned_until={
            UserId(user_id): _until(sanction["banned_until"])
            for user_id, sanction in answer["sanctions"].items()
            if "banned_until" in sanction
        },
        kicked_at={
            UserId(user_id): datetime.fromisoformat(sanction["kicked_at"])
            for user_id, sanction in answer["sanctions"].items()
            if "kicked_at" in sanction
        },
        kicked_until={
            UserId(user_id): datetime.fromisoformat(sanction["kicked_until"])
            for user_id, sanction in answer["sanctions"].items()
            if "kicked_until" in sanction
        },
        muted_until={
            UserId(user_id): _until(sanction["muted_until"])
            for user_id, sanction in answer["sanctions"].items()
            if "muted_until" in sanction
        },
    )


def _page(answer: Mapping[str, Any]) -> LogPage:
    epoch = Epoch(answer["epoch"])
    frames = tuple(
        Frame(Kind(item["kind"]), events.body(item["event"], item["data"]), epoch, item["seq"])
        for item in answer["items"]
    )
    return LogPage(epoch, answer["head"], frames)


def _until(text: str) -> datetime | Forever:
    return FOREVER if text == FOREVER.value else datetime.fromisoformat(text)
