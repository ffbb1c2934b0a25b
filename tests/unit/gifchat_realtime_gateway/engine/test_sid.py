"""Sids are long and random. On a node with peers, they start with the node's tag."""

from gifchat_realtime_gateway.engine.sid import TAG_CHARS, new_sid, node_tag, tag_of


def test_sids_are_unique_and_hold_120_random_bits() -> None:
    sids = {new_sid() for _ in range(1_000)}
    assert len(sids) == 1_000
    assert {len(sid) for sid in sids} == {20}


def test_a_sid_starts_with_the_tag_of_its_node() -> None:
    tag = node_tag("gateway-1.0a1b2c3d")
    assert len(tag) == TAG_CHARS
    assert tag_of(new_sid(tag)) == tag


def test_similar_node_ids_have_different_tags() -> None:
    assert node_tag("127.0.0.1-8002.0a1b2c3d") != node_tag("127.0.0.1-8002.0a1b2c3e")


def test_a_sid_without_a_tag_has_no_node() -> None:
    assert tag_of(new_sid()) is None
    assert tag_of("") is None
    assert tag_of("x" * 500) is None
