from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gifchat_contracts import limits
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.domain.room import (
    BadPasswordError,
    BadTitleError,
    NewPassword,
    RoomPatch,
    fold_title,
    room_payload,
    valid_password,
    valid_title,
)
from gifchat_testkit.fakes.rooms import OWNER, room_of

ROOM = RoomId("65f0c0ffee0123456789abcd")


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("cats", "cats"),
        ("  고양이 GIF  ", "고양이 GIF"),
        ("x" * limits.TITLE_MAX_CHARS, "x" * limits.TITLE_MAX_CHARS),
        (" " * 100 + "x" * limits.TITLE_MAX_CHARS, "x" * limits.TITLE_MAX_CHARS),
        ("<b>{{ 7 * 7 }}</b>", "<b>{{ 7 * 7 }}</b>"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
    ],
)
def test_titles_are_trimmed_and_otherwise_unchanged(raw: str, title: str) -> None:
    assert valid_title(raw) == title


@pytest.mark.parametrize(
    "raw", ["", " \u3000 ", "a\nb", "a\x00", "\x1b[2J", "a\x85", "\ud800", "x" * (limits.TITLE_MAX_CHARS + 1)]
)
def test_invalid_titles_are_refused(raw: str) -> None:
    with pytest.raises(BadTitleError):
        valid_title(raw)


def test_a_password_is_used_exactly_as_typed() -> None:
    assert valid_password("  pass word ") == "  pass word "
    assert valid_password("비" * limits.PASSWORD_MAX_CHARS) == "비" * limits.PASSWORD_MAX_CHARS


@pytest.mark.parametrize("raw", ["x" * (limits.PASSWORD_MAX_CHARS + 1), "a\tb", "\x00", "\udfff"])
def test_invalid_passwords_are_refused(raw: str) -> None:
    with pytest.raises(BadPasswordError):
        valid_password(raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [("CATS", "cats"), ("STRASSE", "straße"), ("ﬁsh", "FISH"), ("ＧＩＦ", "gif"), ("\u1112\u1161", "하")],
)
def test_folding_ignores_case_and_compatible_forms(one: str, other: str) -> None:
    assert fold_title(one) == fold_title(other)


def test_folding_is_idempotent() -> None:
    for title in ("ﬁsh", "STRASSE", "İstanbul", "ΌΣΟΣ", "\u0345"):
        assert fold_title(fold_title(title)) == fold_title(title)


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
