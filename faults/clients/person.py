"""A user in a run: a session cookie and an HTTP client."""

from http.cookies import SimpleCookie
from typing import Any

import httpx

from gifchat_contracts import limits
from gifchat_contracts.identity import MEMBERSHIP_HEADER, SESSION_COOKIE, Identity
from gifchat_testkit.tokens import session_cookie


class Person:
    """A user: a session cookie, and an HTTP client that keeps cookies as a browser does."""

    def __init__(self, url: str, secret: str, session_id: str) -> None:
        """`url` is the address of nginx or of a proxy in front of it; `secret` signs sessions."""
        self.url = url
        self.session_id = session_id
        self.who = Identity.of_session(session_id)
        self.cookies = {SESSION_COOKIE: session_cookie(session_id, secret=secret)}
        self.http = httpx.AsyncClient(
            base_url=url,
            timeout=10.0,
            trust_env=False,
            verify=False,  # noqa: S501 - there is no TLS on loopback, and reading certificates takes time
            event_hooks={"request": [self._give_cookies], "response": [self._take_cookies]},
        )

    def cookie_header(self) -> str:
        """Return the value of the Cookie header."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def keep_cookies(self, set_cookie: list[str]) -> None:
        """Keep the cookies of `Set-Cookie` headers."""
        for header in set_cookie:
            self.cookies.update((name, morsel.value) for name, morsel in SimpleCookie(header).items())

    async def _give_cookies(self, request: httpx.Request) -> None:
        request.headers["Cookie"] = self.cookie_header()

    async def _take_cookies(self, response: httpx.Response) -> None:
        self.keep_cookies(response.headers.get_list("set-cookie"))

    async def history(self, room: str, after: int, membership: str | None) -> list[dict[str, Any]]:
        """Return the first entries after seq `after`, as `{event, data}`; none if the request fails."""
        query = {"after": after, "limit": limits.HISTORY_PAGE_MAX}
        headers = {MEMBERSHIP_HEADER: membership or ""}
        try:
            answer = await self.http.get(f"/api/v1/rooms/{room}/messages", params=query, headers=headers)
            if answer.status_code != httpx.codes.OK:
                return []
            return list(answer.json()["items"])
        except (httpx.HTTPError, ValueError):
            return []

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self.http.aclose()
