"""Sanctions apply even to a user whose seat a gateway has already checked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import FOREVER, Sanction
from gifchat_rooms_api.use_cases.check_access import seated_rule
from gifchat_testkit.fakes.rooms import room_of

ROOM = RoomId("65f0c0ffee0123456789abcd")
ANNE, BOB = UserId("a" * 24), UserId("b" * 24)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sanction", "code"),
    [
        (Sanction(banned_until=FOREVER), errors.BANNED),
        (Sanction(muted_until=NOW + timedelta(seconds=1)), errors.MUTED),
        (Sanction(banned_until=FOREVER, muted_until=FOREVER), errors.BANNED),
    ],
)
def test_a_sanction_applies_only_to_its_user(sanction: Sanction, code: errors.ErrorCode) -> None:
    room = replace(room_of(ROOM), sanctions={ANNE: sanction})
    with pytest.raises(Refused) as caught:
        seated_rule(ANNE)(room, NOW)
    assert caught.value.code == code
    seated_rule(BOB)(room, NOW)


def test_expired_sanctions_and_kicks_do_not_affect_a_seated_user() -> None:
    past = Sanction(banned_until=NOW, muted_until=NOW, kicked_at=NOW)
    seated_rule(ANNE)(replace(room_of(ROOM), sanctions={ANNE: past}), NOW)
