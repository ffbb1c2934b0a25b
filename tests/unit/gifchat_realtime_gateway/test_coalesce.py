import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_realtime_gateway.domain.coalesce import OccupancyMerge, PresenceMerge, Tier, tier_of

ROOM, OTHER = RoomId("a" * 24), RoomId("b" * 24)
ANNE, BOB = Identity(UserId("1" * 24), "#111111"), Identity(UserId("2" * 24), "#222222")


@pytest.mark.parametrize(
    ("members", "tier"),
    [
        (0, Tier.ONE_BY_ONE),
        (100, Tier.ONE_BY_ONE),
        (101, Tier.DIFFERENCE),
        (1_000, Tier.DIFFERENCE),
        (1_001, Tier.COUNT),
    ],
)
def test_tiers(members: int, tier: Tier) -> None:
    assert tier_of(members) is tier


def test_a_difference_names_arrivals_and_departures() -> None:
    merge = PresenceMerge()
    merge.arrived(ROOM, ANNE, 501)
    merge.left(ROOM, BOB, 500)
    assert merge.take() == [
        {"room": ROOM, "members": 500, "joined": {ANNE.user_id: ANNE.color}, "left": {BOB.user_id: BOB.color}}
    ]
    assert merge.take() == []


def test_a_visit_within_the_period_does_not_show() -> None:
    merge = PresenceMerge()
    merge.arrived(ROOM, ANNE, 501)
    merge.left(ROOM, ANNE, 500)
    merge.left(ROOM, BOB, 499)
    merge.arrived(ROOM, BOB, 500)
    assert merge.take() == []


def test_a_room_above_a_thousand_members_gets_only_the_count() -> None:
    merge = PresenceMerge()
    merge.arrived(ROOM, ANNE, 1_001)
    assert merge.take() == [{"room": ROOM, "members": 1_001}]


def test_the_latest_count_decides_the_tier() -> None:
    merge = PresenceMerge()
    merge.arrived(ROOM, ANNE, 1_000)
    merge.arrived(ROOM, BOB, 1_001)
    assert merge.take() == [{"room": ROOM, "members": 1_001}]


def test_a_count_from_another_node_removes_all_names() -> None:
    merge = PresenceMerge()
    merge.add({"room": ROOM, "members": 1_001})
    merge.add({"room": ROOM, "members": 1_000, "left": {ANNE.user_id: ANNE.color}})
    assert merge.take() == [{"room": ROOM, "members": 1_000}]


def test_the_events_of_many_nodes_become_one_event_per_room() -> None:
    merge = PresenceMerge()
    merge.add({"room": ROOM, "members": 201, "joined": {ANNE.user_id: ANNE.color}, "left": {}})
    merge.add({"room": ROOM, "members": 202, "joined": {BOB.user_id: BOB.color}, "left": {}})
    merge.add({"room": OTHER, "members": 5_000})
    assert merge.take() == [
        {
            "room": ROOM,
            "members": 202,
            "joined": {ANNE.user_id: ANNE.color, BOB.user_id: BOB.color},
            "left": {},
        },
        {"room": OTHER, "members": 5_000},
    ]


def test_changes_put_back_precede_later_changes() -> None:
    merge = PresenceMerge()
    merge.arrived(ROOM, ANNE, 501)
    untold = merge.take()
    merge.left(ROOM, ANNE, 500)
    merge.put_back(untold)
    assert merge.take() == []


def test_a_forgotten_room_gets_no_event() -> None:
    merge = PresenceMerge()
    merge.arrived(ROOM, ANNE, 501)
    merge.forget(ROOM)
    assert merge.take() == []


@given(st.lists(st.tuples(st.sampled_from([ANNE, BOB]), st.booleans())), st.sets(st.sampled_from([ANNE, BOB])))
def test_applying_all_differences_yields_the_right_names(
    moves: list[tuple[Identity, bool]], at_first: set[Identity]
) -> None:
    merge = PresenceMerge()
    present = set(at_first)
    told = {who.user_id for who in at_first}
    for who, flush in moves:
        if who in present:
            present.remove(who)
            merge.left(ROOM, who, 500)
        else:
            present.add(who)
            merge.arrived(ROOM, who, 500)
        if flush:
            for payload in merge.take():
                told = (told | payload["joined"].keys()) - payload["left"].keys()
    for payload in merge.take():
        told = (told | payload["joined"].keys()) - payload["left"].keys()
    assert told == {who.user_id for who in present}


def test_the_latest_occupancy_of_each_room_is_sent_once() -> None:
    merge = OccupancyMerge()
    merge.add({ROOM: 1, OTHER: 7})
    merge.add({ROOM: 2})
    assert merge.take() == {ROOM: 2, OTHER: 7}
    assert merge.take() == {}


def test_an_occupancy_put_back_does_not_hide_a_newer_one() -> None:
    merge = OccupancyMerge()
    merge.add({ROOM: 1, OTHER: 7})
    untold = merge.take()
    merge.add({ROOM: 2})
    merge.put_back(untold)
    merge.forget(OTHER)
    assert merge.take() == {ROOM: 2}
