"""What a user whose seat a gateway has checked may still not do."""

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
def test_a_sanction_holds_against_the_user_that_it_is_about_alone(sanction: Sanction, code: errors.ErrorCode) -> None:
    room = replace(room_of(ROOM), sanctions={ANNE: sanction})
    with pytest.raises(Refused) as caught:
        seated_rule(ANNE)(room, NOW)
    assert caught.value.code == code
    seated_rule(BOB)(room, NOW)


def test_what_has_ended_and_a_kick_do_not_silence_who_has_a_seat() -> None:
    past = Sanction(banned_until=NOW, muted_until=NOW, kicked_at=NOW)
    seated_rule(ANNE)(replace(room_of(ROOM), sanctions={ANNE: past}), NOW)
