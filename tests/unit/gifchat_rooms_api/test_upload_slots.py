import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import ErrorCode, Refused
from gifchat_rooms_api.http.upload_slots import UploadSlots

ANNE, BOB, CARL = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def refusal(slots: UploadSlots, address: str) -> ErrorCode:
    with pytest.raises(Refused) as refused, slots.taken(address):
        pass
    return refused.value.code


def test_an_address_takes_only_its_share() -> None:
    slots = UploadSlots(in_all=3, per_address=2)
    with slots.taken(ANNE), slots.taken(ANNE):
        assert refusal(slots, ANNE) is errors.RATE_LIMITED
        with slots.taken(BOB):
            assert refusal(slots, CARL) is errors.UNAVAILABLE


def test_a_slot_is_free_again_after_success_and_after_failure() -> None:
    slots = UploadSlots(in_all=2, per_address=1)
    for _ in range(3):
        with slots.taken(ANNE):
            pass
        with pytest.raises(ZeroDivisionError), slots.taken(ANNE):
            raise ZeroDivisionError
    with slots.taken(ANNE), slots.taken(BOB):
        assert refusal(slots, CARL) is errors.UNAVAILABLE
