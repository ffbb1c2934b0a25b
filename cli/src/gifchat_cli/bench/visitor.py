"""Uses the public API like any client: sessions, rooms and messages."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import httpx

from gifchat_contracts.identity import SESSION_COOKIE
from gifchat_contracts.ids import RoomId

_TIMEOUT_S = 10.0
_RETRY_TIMEOUT_S = 30.0
_RETRY_STATUSES = (429, 503)


class BadAddressError(Exception):
    """There is no GIF Chat at the address; `str()` tells the user what to do."""


class RefusedError(Exception):
    """The cluster refused a request; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room and its owner's cookie."""

    id: RoomId
    owner: str


class FrontDoor:
    """The public API."""

    def __init__(self, url: str) -> None:
        self._url = url
        # The load generator uses no proxy, so these requests use none either.
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def check(self) -> None:
        """Check that GIF Chat answers.

        Raises:
            BadAddressError: it does not.
        """
        try:
            answer = self._http.get("/api/v1/rooms", params={"limit": 1})
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

    def new_session(self) -> str:
        """Create a user and return the session cookie, `name=value`.

        Raises:
            RefusedError: the request was refused, or still failed after half a minute.
        """
        answer = self._ask("POST", "/api/v1/session")
        return f"{SESSION_COOKIE}={answer.cookies[SESSION_COOKIE]}"

    def new_room(self, title: str, members: int) -> Room:
        """Create a room with a new owner.

        Raises:
            RefusedError: the request was refused, or still failed after half a minute.
        """
        owner = self.new_session()
        answer = self._ask("POST", "/api/v1/rooms", owner, {"title": title, "max": members})
        return Room(RoomId(answer.json()["_id"]), owner)

    def post(self, room: Room, text: str, client_message_id: str) -> None:
        """Post to the room as its owner; retry if the outcome is unknown.

        Raises:
            RefusedError: the request was refused (for example, rate-limited), or still failed after half a minute.
        """
        content = {"client_message_id": client_message_id, "text": text}
        self._ask("POST", f"/api/v1/rooms/{room.id}/messages", room.owner, content, retry_statuses=(503,))

    def delete(self, room: Room) -> None:
        """Remove the room and its contents.

        Raises:
            RefusedError: the request was refused, or still failed after half a minute.
        """
        self._ask("DELETE", f"/api/v1/rooms/{room.id}", room.owner)

    def _ask(
        self,
        method: str,
        path: str,
        cookie: str | None = None,
        content: Mapping[str, Any] | None = None,
        retry_statuses: tuple[int, ...] = _RETRY_STATUSES,
    ) -> httpx.Response:
        deadline = time.monotonic() + _RETRY_TIMEOUT_S
        while True:
            self._http.cookies.clear()  # Each user has its own cookie.
            wait_s = 1.0
            try:
                answer = self._http.request(method, path, json=content, headers={"Cookie": cookie} if cookie else None)
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


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["title"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
