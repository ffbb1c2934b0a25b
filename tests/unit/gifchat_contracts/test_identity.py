import pytest

from gifchat_contracts.identity import Identity, color_of, user_id_of
from gifchat_contracts.ids import is_user_id


@pytest.mark.parametrize(
    ("session_id", "color"),
    [
        ("a", "#d2c679"),
        ("b", "#421f93"),
        ("session-1", "#86362d"),
        ("한글", "#ac539d"),
        ("x" * 40, "#783a5d"),
        ("0", "#49862d"),
        ("42", "#40bf59"),
    ],
)
def test_colours_match_the_package_color_hash(session_id: str, color: str) -> None:
    assert color_of(session_id) == color


def test_the_public_id_is_stable_and_hides_the_session_id() -> None:
    identity = Identity.of_session("session-1")
    assert identity == Identity(user_id_of("session-1"), "#86362d")
    assert is_user_id(identity.user_id)
    assert identity.user_id != user_id_of("session-2")
