"""The short form of each attack: what the attacker gets and is refused. `make abuse` measures the other users."""

import pytest
from abuse.attacks import (
    decoding,
    half_sent_uploads,
    history,
    polling_guests,
    room_changes,
    room_creation,
    room_flood,
    seats,
    tiny_events,
    unknown_rooms,
)

from gifchat_realtime_gateway.settings import Settings as GatewaySettings
from gifchat_realtime_gateway.use_cases.limit_seats import SHARE
from gifchat_rooms_api.settings import Settings as RoomsApiSettings

from .conftest import AttackUntil

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

GATEWAY, ROOMS_API = GatewaySettings(), RoomsApiSettings()
GATEWAYS = 3
GUEST_SEATS = GATEWAY.guest_seats_per_address * (1 + GATEWAYS / SHARE)
"""An address may exceed its bound by a share for each further gateway."""


async def test_who_floods_a_gateway_with_tiny_events_is_disconnected(attack_until: AttackUntil) -> None:
    attacked = await attack_until(tiny_events.ATTACK, "closed with 4029", tiny_events.SOCKETS - 1)
    assert attacked.found("closed with") == attacked.found("closed with 4029")
    # A client that reconnects at once gets no new budget.
    assert attacked.found("handshakes refused with 429") > 0


async def test_a_reader_gets_a_bounded_number_of_bytes_of_history(attack_until: AttackUntil) -> None:
    attacked = await attack_until(history.ATTACK, "refused with rate_limited", 10)
    page = ROOMS_API.history_page_bytes * 1.1
    assert attacked.found("bytes received") <= page * attacked.found("pages")
    assert attacked.found("bytes received") <= (
        ROOMS_API.history_user_burst_bytes
        + ROOMS_API.history_user_bytes_per_s * attacked.seconds
        + page * history.AT_ONCE
    )


async def test_an_address_has_a_bounded_number_of_guests_by_polling(attack_until: AttackUntil) -> None:
    attacked = await attack_until(polling_guests.ATTACK, "refused with", 10)
    assert 0 < attacked.found("seats") <= GUEST_SEATS


async def test_an_address_cannot_fill_the_rooms_and_owners_enter_theirs(attack_until: AttackUntil) -> None:
    attacked = await attack_until(seats.ATTACK, "refused with too_many_seats", 10)
    assert 0 < attacked.found("seats") <= GUEST_SEATS < 10 * seats.ROOMS
    assert await seats.owners_enter(attacked.stage) == {}


async def test_an_address_asks_for_a_bounded_number_of_unknown_rooms(attack_until: AttackUntil) -> None:
    attacked = await attack_until(unknown_rooms.ATTACK, "refused with room_not_found", 300)
    packets = GATEWAY.address_packets_at_once + GATEWAY.address_packets_per_second * attacked.seconds
    # Each connection may go into debt with its last join.
    connections = attacked.found("connections")
    assert attacked.found("refused with room_not_found") <= (
        GATEWAYS * packets / GATEWAY.unknown_room_packets + connections
    )


async def test_an_owner_changes_rooms_a_bounded_number_of_times(attack_until: AttackUntil) -> None:
    attacked = await attack_until(room_changes.ATTACK, "refused with rate_limited", 10)
    per_user = ROOMS_API.room_changes_per_user
    changed = attacked.found("changed") + attacked.found("rooms")
    assert 0 < changed <= per_user + per_user / 60 * attacked.seconds + 1


async def test_an_address_creates_a_bounded_number_of_rooms(attack_until: AttackUntil) -> None:
    attacked = await attack_until(room_creation.ATTACK, "refused", 10)
    per_address = ROOMS_API.room_changes_per_address
    assert 0 < attacked.found("rooms created") <= per_address + per_address / 60 * attacked.seconds + 1


async def test_an_address_writes_a_bounded_number_of_messages_into_a_room(attack_until: AttackUntil) -> None:
    attacked = await attack_until(room_flood.ATTACK, "refused with rate_limited", 20)
    per_s = ROOMS_API.room_messages_per_address
    at_once = ROOMS_API.room_messages_per_address_at_once
    assert 0 < attacked.found("messages taken") <= at_once + per_s * attacked.seconds


async def test_an_address_has_a_bounded_number_of_pixels_decoded(attack_until: AttackUntil) -> None:
    attacked = await attack_until(decoding.ATTACK, "refused", 50)
    megapixels = decoding.SIDE**2 * decoding.FRAMES / 1e6
    bound = float(ROOMS_API.decode_megapixels_per_address)
    bound += ROOMS_API.decode_megapixels_per_address_per_second * attacked.seconds
    assert attacked.found("uploads") * megapixels <= bound


async def test_half_sent_uploads_are_refused_without_a_session_and_bounded_with_one(attack_until: AttackUntil) -> None:
    attacked = await attack_until(half_sent_uploads.ATTACK, "answered with 4", 100)
    assert attacked.found("answered with 401") > 0
    assert attacked.found("answered with 429") > 0
    assert attacked.found("answered with") == attacked.found("answered with 401") + attacked.found("answered with 429")
