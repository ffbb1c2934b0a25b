from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gifchat_contracts import limits
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.domain.room import (
    BadPasswordError,
    NewPassword,
    RoomPatch,
    room_payload,
    valid_password,
)
from gifchat_testkit.fakes.rooms import OWNER, room_of

ROOM = RoomId("65f0c0ffee0123456789abcd")


def test_a_password_is_used_exactly_as_typed() -> None:
    assert valid_password("  pass word ") == "  pass word "
    assert valid_password("비" * limits.PASSWORD_MAX_CHARS) == "비" * limits.PASSWORD_MAX_CHARS


@pytest.mark.parametrize("raw", ["x" * (limits.PASSWORD_MAX_CHARS + 1), "a\tb", "\x00", "\udfff"])
def test_invalid_passwords_are_refused(raw: str) -> None:
    with pytest.raises(BadPasswordError):
        valid_password(raw)


def test_only_a_change_without_fields_is_empty() -> None:
    assert RoomPatch().empty
    assert not RoomPatch(slow_mode_s=0).empty
    assert not RoomPatch(password=NewPassword(None)).empty


def test_the_payload_has_only_public_fields() -> None:
    room = replace(
        room_of(ROOM, slow_mode_s=5),
        password_hash="$argon2id$secret",
        members=3,
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC),
    )
    assert room_payload(room) == {
        "_id": ROOM,
        "title": "A room",
        "max": 10,
        "private": True,
        "owner": "#86362d",
        "owner_id": OWNER,
        "slow_mode_s": 5,
        "createdAt": "2026-01-02T03:04:05.678Z",
        "members": 3,
    }


def test_current_members_override_recorded_ones() -> None:
    room = replace(room_of(ROOM), members=3)
    assert room_payload(room, 0)["members"] == 0
    assert room_payload(room, None)["members"] == 3
