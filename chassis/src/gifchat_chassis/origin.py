"""The origin check: pages of other sites may not open sockets or change state."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from starlette.requests import Request

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def origin_allowed(origins: Sequence[str], allowed: Collection[str]) -> bool:
    """Whether a request with these `Origin` headers may proceed.

    A request without `Origin` does not come from a browser and is allowed. `null` counts as an origin
    that must be on the list. No browser sends two `Origin` headers, so a request with two is refused in any case.
    """
    return not origins or (len(origins) == 1 and origins[0] in allowed)


def same_origin(allowed: Collection[str]) -> Callable[[Request], Awaitable[None]]:
    """Return a route dependency that refuses state-changing requests from other sites' pages (`ORIGIN_REFUSED`)."""

    async def check(request: Request) -> None:
        if request.method not in SAFE_METHODS and not origin_allowed(request.headers.getlist("origin"), allowed):
            raise Refused(errors.ORIGIN_REFUSED)

    return check
