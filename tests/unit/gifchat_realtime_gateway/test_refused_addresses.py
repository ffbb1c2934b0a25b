"""How long a gateway remembers that an address may not post into a room, and how many such addresses."""

from gifchat_contracts.ids import RoomId
from gifchat_realtime_gateway.domain.refused_addresses import RefusedAddresses

ROOMS = [RoomId(f"{number:024x}") for number in range(20)]
ADDRESS = "192.0.2.1"


def test_an_address_is_refused_in_one_room_for_as_long_as_rooms_api_said() -> None:
    refused = RefusedAddresses(max_wait_s=5.0)
    refused.add(ROOMS[0], ADDRESS, 2.0, 100.0)
    assert refused.wait_s(ROOMS[0], ADDRESS, 101.5) == 0.5
    assert refused.wait_s(ROOMS[0], ADDRESS, 102.0) == 0
    assert refused.wait_s(ROOMS[1], ADDRESS, 100.0) == 0
    assert refused.wait_s(ROOMS[0], "192.0.2.2", 100.0) == 0


def test_a_refusal_is_remembered_only_for_the_longest_time() -> None:
    refused = RefusedAddresses(max_wait_s=1.0)
    refused.add(ROOMS[0], ADDRESS, 60.0, 100.0)
    assert refused.wait_s(ROOMS[0], ADDRESS, 100.0) == 1.0


def test_the_oldest_refusals_give_way() -> None:
    refused = RefusedAddresses(max_wait_s=5.0, max_addresses=10)
    for number, room in enumerate(ROOMS):
        refused.add(room, ADDRESS, 5.0, 100.0 + number / 10)
    assert len(refused) == 10
    assert refused.wait_s(ROOMS[9], ADDRESS, 102.0) == 0
    assert refused.wait_s(ROOMS[10], ADDRESS, 102.0) > 0


def test_ended_refusals_take_no_memory() -> None:
    refused = RefusedAddresses(max_wait_s=5.0)
    for room in ROOMS:
        refused.add(room, ADDRESS, 1.0, 100.0)
    refused.add(ROOMS[0], ADDRESS, 1.0, 101.0)
    assert len(refused) == 1
