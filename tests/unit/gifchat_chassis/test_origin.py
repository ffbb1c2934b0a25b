import pytest
from starlette.requests import Request

from gifchat_chassis.origin import origin_allowed, same_origin
from gifchat_contracts.errors import Refused

OURS, ALSO_OURS = "https://chat.example", "https://www.chat.example"
ALLOWED = (OURS, ALSO_OURS)


async def is_refused(method: str, origins: list[str]) -> bool:
    headers = [(b"origin", origin.encode()) for origin in origins]
    try:
        await same_origin(ALLOWED)(Request({"type": "http", "method": method, "headers": headers}))
    except Refused as refusal:
        return refusal.code.code == "origin_refused"
    return False


@pytest.mark.parametrize("origins", [[], [OURS], [ALSO_OURS]])
async def test_an_allowed_or_missing_origin_may_proceed(origins: list[str]) -> None:
    assert origin_allowed(origins, ALLOWED)
    assert not await is_refused("POST", origins)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://chat.example", f"{OURS}:8443", f"{OURS}.evil.example", OURS.upper()],
)
async def test_a_foreign_origin_may_read_but_not_change_anything(origin: str) -> None:
    assert not origin_allowed([origin], ALLOWED)
    for method in ("POST", "PUT", "PATCH", "DELETE", "BREW"):
        assert await is_refused(method, [origin])
    for method in ("GET", "HEAD", "OPTIONS"):
        assert not await is_refused(method, [origin])


@pytest.mark.parametrize("origins", [[OURS, OURS], [OURS, ALSO_OURS], [OURS, "https://evil.example"]])
async def test_two_origins_are_refused_even_if_both_are_allowed(origins: list[str]) -> None:
    assert not origin_allowed(origins, ALLOWED)
    assert await is_refused("POST", origins)
