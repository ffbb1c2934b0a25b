import re

from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts import keys
from gifchat_contracts.ids import NodeId, RoomId, UserId

USER = UserId("ab" * 12)
NODE = NodeId("gateway-1.0a0b0c0d")
rooms = st.text(st.sampled_from("0123456789abcdef"), min_size=24, max_size=24).map(RoomId)


def _hash_tag(key: str) -> str:
    found = re.search(r"\{(.*?)\}", key)
    assert found, key
    return found[1]


@given(rooms)
def test_all_keys_of_a_room_are_in_the_slot_of_its_partition(room_id: RoomId) -> None:
    partition = keys.partition_of(room_id)
    assert 0 <= partition < keys.PARTITIONS
    of_room = [
        keys.room_channel(room_id),
        keys.members(room_id),
        keys.nodes(room_id),
        keys.node_sessions(room_id, NODE),
        keys.used_ticket(room_id, "t"),
        keys.grant(room_id, USER),
    ]
    of_partition = [keys.generation, keys.server, keys.heard, keys.leases, keys.grace, keys.occupancy]
    names = of_room + [name(partition) for name in of_partition]
    assert {_hash_tag(name) for name in names} == {f"p{partition:02d}"}
    assert len(set(names)) == len(names)
    assert all(name.startswith(keys.room_prefix(room_id)) for name in of_room)


def test_key_names_are_the_documented_ones() -> None:
    room_id = RoomId("65f0c0ffee0123456789abcd")
    partition = keys.partition_of(room_id)
    assert keys.room_channel(room_id) == f"gifchat:{{p{partition:02d}}}:room:{room_id}:events"
    assert keys.generation(7) == "gifchat:{p07}:generation"
    assert keys.rate_limit("message", "127.0.0.1") == "gifchat:limit:message:{127.0.0.1}"


@given(rooms)
def test_a_room_channel_names_its_room(room_id: RoomId) -> None:
    assert keys.room_of_channel(keys.room_channel(room_id)) == room_id


def test_other_channels_name_no_room() -> None:
    for channel in (keys.LOBBY_CHANNEL, keys.canary_channel(NODE), "gifchat:{p01}:room:x:events", ""):
        assert keys.room_of_channel(channel) is None


def test_rooms_are_spread_over_the_partitions() -> None:
    used = {keys.partition_of(RoomId(f"{number:024x}")) for number in range(2_000)}
    assert len(used) == keys.PARTITIONS
