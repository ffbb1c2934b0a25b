"""Session ids: long and random; on a node with peers they start with its tag."""

from gifchat_realtime_gateway.engine.sid import TAG_CHARS, new_sid, node_tag, tag_of


def test_sids_are_unique_and_hold_120_random_bits() -> None:
    sids = {new_sid() for _ in range(1_000)}
    assert len(sids) == 1_000
    assert {len(sid) for sid in sids} == {20}


def test_a_sid_names_its_node() -> None:
    tag = node_tag("gateway-1.0a1b2c3d")
    assert len(tag) == TAG_CHARS
    assert tag_of(new_sid(tag)) == tag


def test_the_tag_shows_neither_name_nor_address() -> None:
    assert node_tag("127.0.0.1-8002.0a1b2c3d") != node_tag("127.0.0.1-8002.0a1b2c3e")


def test_a_sid_without_a_tag_names_no_node() -> None:
    assert tag_of(new_sid()) is None
    assert tag_of("") is None
    assert tag_of("x" * 500) is None
