"""Who may read and post: sanctions, seats, and memberships while seats cannot be read."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.moderation import FOREVER, NO_SANCTION, Sanction
from gifchat_rooms_api.domain.room import Room
from gifchat_rooms_api.ports import Membership, OccupancyUnavailableError, RoomOccupancy
from gifchat_rooms_api.use_cases.check_access import CheckAccess, seated_rule
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


@dataclass
class Seats:
    """`ports.Occupancy` for one user. `seated` None: Redis is away."""

    seated_now: bool | None
    settled: bool = True
    asked: int = 0

    async def seated(self, room_id: RoomId, user_id: UserId) -> bool:
        self.asked += 1
        if self.seated_now is None:
            raise OccupancyUnavailableError("away")
        return self.seated_now

    async def for_user(self, room_id: RoomId, user_id: UserId) -> RoomOccupancy:
        return RoomOccupancy(1, seated=await self.seated(room_id, user_id), settled=self.settled)


class Tokens:
    """`ports.Signatures` with one membership, issued at `NOW`."""

    def session_of(self, cookie: str) -> str | None:
        return None

    def ticket(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        return ""

    def membership_of(self, token: str) -> Membership | None:
        return Membership(ROOM, ANNE, 1, NOW) if token == "anne's" else None


async def read_code(
    seats: Seats, *, user_id: UserId = ANNE, token: str | None = None, sanction: Sanction = NO_SANCTION
) -> str | None:
    room = replace(room_of(ROOM), owner_id=BOB, access_version=1, sanctions={ANNE: sanction})

    class Rooms:
        async def get(self, room_id: RoomId) -> Room | None:
            return room

    occupancy: Any = seats
    rule = await CheckAccess(Rooms(), occupancy, Tokens()).reader_rule(ROOM, user_id, token)
    try:
        rule(room, NOW)
    except Refused as refused:
        return refused.code.code
    return None


@pytest.mark.parametrize(
    ("seats", "token", "code"),
    [
        (Seats(seated_now=True), None, None),
        (Seats(seated_now=False), None, "not_a_member"),
        (Seats(seated_now=False), "anne's", "not_a_member"),
        (Seats(seated_now=False, settled=False), "anne's", None),
        (Seats(seated_now=False, settled=False), None, "admission_unavailable"),
        (Seats(seated_now=None), "anne's", None),
        (Seats(seated_now=None), "forged", "admission_unavailable"),
    ],
)
async def test_a_seat_decides_and_a_membership_stands_in_for_it(
    seats: Seats, token: str | None, code: str | None
) -> None:
    assert await read_code(seats, token=token) == code


async def test_the_owner_needs_no_seat_and_nobody_looks_for_one() -> None:
    seats = Seats(seated_now=False)
    assert await read_code(seats, user_id=BOB) is None
    assert seats.asked == 0


async def test_a_kick_counts_before_the_gateway_gives_up_the_seat() -> None:
    held = Sanction(kicked_at=NOW, kicked_until=NOW + timedelta(seconds=60))
    assert await read_code(Seats(seated_now=True), sanction=held) == "kicked"
    over = Sanction(kicked_at=NOW, kicked_until=NOW)
    assert await read_code(Seats(seated_now=False), token="anne's", sanction=over) == "kicked"
    assert await read_code(Seats(seated_now=True), sanction=over) is None
