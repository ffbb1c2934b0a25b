"""Uses the public API like any client: sessions, rooms and messages."""

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.ids import RoomId

_TIMEOUT_S = 10.0
_RETRY_TIMEOUT_S = 30.0
_RETRY_STATUSES = (429, 503)
_SOURCES = 64
"""Loopback addresses to connect from, as many as those of the load generator."""


class BadAddressError(Exception):
    """There is no GIF Chat at the address; `str()` tells the user what to do."""


class RefusedError(Exception):
    """The cluster refused a request; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room and its owner's cookie."""

    id: RoomId
    owner: str
    source: int = 0
    """Number of the loopback address that the owner connects from."""


class FrontDoor:
    """The public API.

    On loopback, the owners of rooms connect from many addresses, as viewers do, because each address has its bounds.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        host = urlsplit(url).hostname or ""
        sources = _SOURCES if host == "localhost" or host.startswith("127.") else 1
        self._clients = [_client(url, number if sources > 1 else None) for number in range(sources)]
        self._rooms = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    def check(self) -> None:
        """Check that GIF Chat answers.

        Raises:
            BadAddressError: it does not.
        """
        try:
            answer = self._clients[0].get("/api/v1/rooms", params={"limit": 1})
            known = answer.status_code in _RETRY_STATUSES or "items" in answer.json()
        except httpx.TransportError as error:
            raise BadAddressError(
                f"Nothing answers on {self._url} ({error}): start a cluster with `gifchat up`, or name one with --url."
            ) from error
        except (ValueError, TypeError):
            known = False
        if not known:
            raise BadAddressError(
                f"The server on {self._url} is not GIF Chat (GET /api/v1/rooms: {answer.status_code}): "
                "give the address of its front door with --url."
            )

    def new_session(self, source: int = 0) -> str:
        """Create a user and return the session cookie, `name=value`.

        Raises:
            RefusedError: the request was refused, or still failed after half a minute.
        """
        answer = self._ask("POST", "/api/v1/session", source=source)
        return f"{SESSION_COOKIE}={answer.cookies[SESSION_COOKIE]}"

    def new_room(self, title: str, members: int) -> Room:
        """Create a room with a new owner.

        Raises:
            RefusedError: the request was refused, or still failed after half a minute.
        """
        source = self._rooms % len(self._clients)
        self._rooms += 1
        owner = self.new_session(source)
        answer = self._ask("POST", "/api/v1/rooms", owner, {"title": title, "max": members}, source=source)
        return Room(RoomId(answer.json()["_id"]), owner, source)

    def post(self, room: Room, text: str, client_message_id: str) -> None:
        """Post to the room as its owner; retry if the outcome is unknown.

        Raises:
            RefusedError: the request was refused (for example, rate-limited), or still failed after half a minute.
        """
        content = {"client_message_id": client_message_id, "text": text}
        self._ask(
            "POST", f"/api/v1/rooms/{room.id}/messages", room.owner, content, retry_statuses=(503,), source=room.source
        )

    def delete(self, room: Room) -> None:
        """Remove the room and its contents.

        Raises:
            RefusedError: the request was refused, or still failed after half a minute.
        """
        self._ask("DELETE", f"/api/v1/rooms/{room.id}", room.owner, source=room.source)

    def _ask(
        self,
        method: str,
        path: str,
        cookie: str | None = None,
        content: Mapping[str, Any] | None = None,
        *,
        retry_statuses: tuple[int, ...] = _RETRY_STATUSES,
        source: int = 0,
    ) -> httpx.Response:
        http = self._clients[source]
        deadline = time.monotonic() + _RETRY_TIMEOUT_S
        while True:
            http.cookies.clear()  # Each user has its own cookie.
            wait_s = 1.0
            try:
                answer = http.request(method, path, json=content, headers={"Cookie": cookie} if cookie else None)
            except httpx.TransportError as error:
                why = f"{method} {path}: {type(error).__name__} {error}"
            else:
                if answer.is_success:
                    return answer
                why = f"{method} {path}: {answer.status_code} {_reason(answer)}"
                if answer.status_code not in retry_statuses:
                    raise RefusedError(why)
                with suppress(KeyError, ValueError):
                    wait_s = float(answer.headers["Retry-After"])
            if time.monotonic() + wait_s > deadline:
                raise RefusedError(why)
            time.sleep(wait_s)


def _client(url: str, source: int | None) -> httpx.Client:
    # The load generator uses no proxy, so these requests use none either.
    local = None if source is None else f"127.0.0.{1 + source}"
    transport = httpx.HTTPTransport(local_address=local, verify=_tls())
    return httpx.Client(base_url=url, timeout=_TIMEOUT_S, transport=transport)


@cache
def _tls() -> ssl.SSLContext:
    """Load the CA certificates once, because that takes time."""
    return ssl.create_default_context()


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["title"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
