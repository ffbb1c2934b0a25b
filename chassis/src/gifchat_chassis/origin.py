"""The origin check: pages of other sites may neither open sockets nor change state."""

from collections.abc import Collection, Sequence

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def origin_allowed(origins: Sequence[str], allowed: Collection[str]) -> bool:
    """Whether a request with these `Origin` headers may proceed.

    A request without `Origin` does not come from a browser and is allowed. `null` is an origin that is not on the
    list. No browser sends two `Origin` headers, so a request with two is refused, even if both are allowed.
    """
    return not origins or (len(origins) == 1 and origins[0] in allowed)


def is_forged(method: str, origins: Sequence[str], allowed: Collection[str]) -> bool:
    """Whether another site's page makes a browser send this state-changing request."""
    return method not in _SAFE_METHODS and not origin_allowed(origins, allowed)
