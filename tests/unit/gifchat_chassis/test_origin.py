import pytest

from gifchat_chassis.origin import is_forged, origin_allowed

OURS, ALSO_OURS = "https://chat.example", "https://www.chat.example"
ALLOWED = (OURS, ALSO_OURS)


@pytest.mark.parametrize("origins", [[], [OURS], [ALSO_OURS]])
def test_an_allowed_or_missing_origin_may_proceed(origins: list[str]) -> None:
    assert origin_allowed(origins, ALLOWED)
    assert not is_forged("POST", origins, ALLOWED)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://chat.example", f"{OURS}:8443", f"{OURS}.evil.example", OURS.upper()],
)
def test_a_foreign_origin_may_read_but_not_change_anything(origin: str) -> None:
    assert not origin_allowed([origin], ALLOWED)
    assert all(is_forged(method, [origin], ALLOWED) for method in ("POST", "PUT", "PATCH", "DELETE", "BREW"))
    assert not any(is_forged(method, [origin], ALLOWED) for method in ("GET", "HEAD", "OPTIONS"))


@pytest.mark.parametrize("origins", [[OURS, OURS], [OURS, ALSO_OURS], [OURS, "https://evil.example"]])
def test_two_origins_are_refused_even_if_both_are_allowed(origins: list[str]) -> None:
    assert not origin_allowed(origins, ALLOWED)
    assert is_forged("POST", origins, ALLOWED)
