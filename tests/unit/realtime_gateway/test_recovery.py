import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_gateway.domain.recovery import Newest, Recovered, Ring, Wanting, items_of, newest, recover
from room_contracts import limits
from room_contracts.codec import Frame, Kind
from room_contracts.events import body
from room_contracts.ids import Epoch
from room_contracts.position import Position

EPOCH, OTHER_EPOCH = Epoch("a" * 16), Epoch("b" * 16)
CAPACITY = 6


def frame(seq: int, **content: Any) -> Frame:
    return Frame(Kind.CHAT, body("chat", {"seq": seq, **(content or {"chat": f"message {seq}"})}), EPOCH, seq)


def frames(first: int, last: int) -> list[Frame]:
    return [frame(seq) for seq in range(first, last + 1)]


def seqs(found: Sequence[Frame]) -> list[int]:
    return [each.seq for each in found]


class RingAgainstAList(RuleBasedStateMachine):
    """The model: the whole log in a list, and how far back the ring reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.first_start = 20
        self.log = {seq: frame(seq) for seq in range(1, self.first_start + 1)}
        self.start = self.first_start
        self.ring = Ring(self.first_start, capacity=CAPACITY)

    @property
    def last(self) -> int:
        return len(self.log)

    @rule()
    def append(self) -> None:
        self.log[self.last + 1] = frame(self.last + 1)
        self.ring.append(self.log[self.last])
        self.start = max(self.start, self.last - CAPACITY)

    @rule(back=st.integers(1, 9), too_far=st.integers(0, 9))
    def extend_back(self, back: int, too_far: int) -> None:
        """A page that ends where the ring starts, or in it."""
        page = [self.log[seq] for seq in range(max(1, self.start - back + 1), min(self.last, self.start + too_far) + 1)]
        self.ring.extend_back(page)
        self.start = max(self.start - len(range(page[0].seq, self.start + 1)), self.last - CAPACITY, 0)

    @precondition(lambda self: self.start > 3)
    @rule()
    def extend_back_by_what_ends_too_early(self) -> None:
        self.ring.extend_back([self.log[self.start - 2], self.log[self.start - 1]])

    @rule(seq=st.integers(1, 40))
    def redact(self, seq: int) -> None:
        self.ring.redact(seq)
        if self.start < seq <= self.last:
            self.log[seq] = frame(seq, deleted=True)

    @rule(seq=st.integers(0, 60))
    def since(self, seq: int) -> None:
        found = self.ring.since(seq)
        if seq < self.start:
            assert found is None
        else:
            assert found == [self.log[each] for each in range(seq + 1, self.last + 1)]

    @rule(count=st.integers(0, 2 * CAPACITY))
    def newest(self, count: int) -> None:
        first = max(self.start, self.last - count) + 1
        assert self.ring.newest(count) == [self.log[seq] for seq in range(first, self.last + 1)]

    @invariant()
    def the_ends_are_right(self) -> None:
        assert (self.ring.start, self.ring.last) == (self.start, self.last)
        assert self.last - self.start <= CAPACITY


TestRingAgainstAList = RingAgainstAList.TestCase


@given(st.integers(0, 40), st.integers(0, 10), st.integers(0, 60) | st.none())
def test_recovery_gives_all_that_was_missed_or_says_why_not(start: int, held: int, seen_seq: int | None) -> None:
    ring = Ring(start, frames(start + 1, start + held))
    at = Position(EPOCH, start + held)
    seen = None if seen_seq is None else Position(EPOCH, seen_seq)
    match recover(ring, at, seen):
        case Recovered(found):
            assert seen is not None
            assert seqs(found) == list(range(seen.seq + 1, at.seq + 1))
        case Newest():
            assert seen is None
        case Wanting.OLDER:
            assert seen is not None
            assert seen.seq < start
        case Wanting.NEWER:
            assert seen is not None
            assert seen.seq > at.seq


def test_a_position_of_another_numbering_means_nothing() -> None:
    ring = Ring(0, frames(1, 5))
    assert recover(ring, Position(EPOCH, 5), Position(OTHER_EPOCH, 3)) == Newest(frames(1, 5))


def test_who_is_new_gets_one_page_of_the_end() -> None:
    ring = Ring(0, frames(1, 80))
    assert recover(ring, Position(EPOCH, 80), None) == Newest(frames(81 - limits.RECENT_ON_JOIN, 80)) == newest(ring)


@pytest.mark.parametrize("content", [{"chat": "secret"}, {"gif": "secret.gif", "gif_info": {"url": "/gif/secret.gif"}}])
def test_a_redacted_message_keeps_its_place_and_loses_its_content(content: dict[str, Any]) -> None:
    ring = Ring(0, [frame(1), frame(2, **content), frame(3)])
    ring.redact(2)
    assert seqs(ring.newest(3)) == [1, 2, 3]
    assert b"secret" not in ring.newest(2)[0].body
    assert json.loads(ring.newest(2)[0].body) == ["chat", {"seq": 2, "deleted": True}]


def test_items_are_events_by_name() -> None:
    assert items_of([frame(7)]) == [{"event": "chat", "data": {"seq": 7, "chat": "message 7"}}]
