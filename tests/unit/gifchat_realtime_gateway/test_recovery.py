import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gifchat_contracts import limits
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.events import body
from gifchat_contracts.ids import Epoch
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.hosted_room import Deliver, Stream
from gifchat_realtime_gateway.domain.recovery import Newest, Recovered, Ring, Wanting, items_of, newest, recover

EPOCH, OTHER_EPOCH = Epoch("a" * 16), Epoch("b" * 16)
CAPACITY, PAGE = 6, 4


def frame(seq: int, **content: Any) -> Frame:
    return Frame(Kind.CHAT, body("chat", {"seq": seq, **(content or {"chat": f"message {seq}"})}), EPOCH, seq)


def frames(first: int, last: int) -> list[Frame]:
    return [frame(seq) for seq in range(first, last + 1)]


def seqs(found: Sequence[Frame]) -> list[int]:
    return [each.seq for each in found]


class RingModel(RuleBasedStateMachine):
    """The model has the whole log and the start of the ring."""

    def __init__(self) -> None:
        super().__init__()
        self.first_start = 20
        self.log = {seq: frame(seq) for seq in range(1, self.first_start + 1)}
        self.start = self.first_start
        self.ring = Ring(self.first_start, capacity=CAPACITY)
        self.deleted: list[int] = []
        """The latest deletions. A page may have been read before them."""

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
        """Add a page that ends at the start of the ring or inside it."""
        span = range(max(1, self.start - back + 1), min(self.last, self.start + too_far) + 1)
        page = [frame(seq) if seq in self.deleted else self.log[seq] for seq in span]
        self.ring.extend_back(page)
        self.start = max(self.start - len(range(page[0].seq, self.start + 1)), self.last - CAPACITY, 0)

    @precondition(lambda self: self.start > 3)
    @rule()
    def extend_back_by_a_page_that_does_not_connect(self) -> None:
        self.ring.extend_back([self.log[self.start - 2], self.log[self.start - 1]])

    @rule(seq=st.integers(1, 40))
    def redact(self, seq: int) -> None:
        seq = min(seq, self.last)
        self.ring.redact(seq)
        self.log[seq] = frame(seq, deleted=True)
        self.deleted = [*(each for each in self.deleted if each != seq), seq][-CAPACITY:]

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
    def start_and_last_match_the_model(self) -> None:
        assert (self.ring.start, self.ring.last) == (self.start, self.last)
        assert self.last - self.start <= CAPACITY


TestRingModel = RingModel.TestCase


@dataclass
class Client:
    """A client that shows all events since its last resync."""

    shown: list[Frame] = field(default_factory=list)
    seen: Position | None = None
    here: bool = False


class ReturningClients(RuleBasedStateMachine):
    """The model has the log of each epoch. A node has a stream and a ring. Clients leave, return and change nodes.

    Missing events are read from the log as in `use_cases.catch_up`.
    """

    stream: Stream
    ring: Ring

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[Epoch, list[Frame]] = {}
        self.clients = [Client(), Client()]
        self.change_the_epoch(2)

    @property
    def log(self) -> list[Frame]:
        return self.logs[self.epoch]

    @property
    def epoch(self) -> Epoch:
        return list(self.logs)[-1]

    @property
    def here(self) -> list[Client]:
        return [client for client in self.clients if client.here]

    @property
    def gone(self) -> list[Client]:
        return [client for client in self.clients if not client.here]

    def messages(self, first: int, count: int) -> list[Frame]:
        return [
            Frame(Kind.CHAT, body("chat", {"epoch": self.epoch, "seq": seq}), self.epoch, seq)
            for seq in range(first, first + count)
        ]

    def take(self, frame: Frame) -> None:
        outcome = self.stream.receive(frame)
        if isinstance(outcome, Deliver):
            for each in outcome.frames:
                self.ring.append(each)
                for client in self.here:
                    client.shown.append(each)
                    client.seen = Position(self.epoch, each.seq)

    def start_node(self, head: int, held: int) -> None:
        self.stream = Stream(Position(self.epoch, head))
        self.ring = Ring(max(0, head - held), self.log[max(0, head - held) : head], CAPACITY)

    @rule(count=st.integers(1, CAPACITY), lost=st.integers(0, 2))
    def write(self, count: int, lost: int) -> None:
        """Write messages. The first `lost` of them do not reach the node."""
        written = self.messages(len(self.log) + 1, count)
        self.log.extend(written)
        for each in written[lost:]:
            self.take(each)

    @rule()
    def repair(self) -> None:
        at = self.stream.position.seq
        for each in self.log[at : at + PAGE]:
            self.take(each)
        assert self.stream.position.seq >= min(at + PAGE, len(self.log))

    @precondition(lambda self: self.here)
    @rule(which=st.integers(0, 1), missed=st.integers(0, 2 * CAPACITY))
    def leave(self, which: int, missed: int) -> None:
        self.here[which % len(self.here)].here = False
        self.write(missed, 0)

    @precondition(lambda self: self.here)
    @rule(missed=st.integers(0, 3), behind=st.integers(0, CAPACITY), held=st.integers(0, 3))
    def move_to_another_node(self, missed: int, behind: int, held: int) -> None:
        """Move to a node that missed the last messages and has only a few of the earlier ones."""
        for client in self.here:
            client.here = False
        self.write(missed, 0)
        self.start_node(max(0, len(self.log) - behind), held)

    @precondition(lambda self: self.here and len(self.log) > CAPACITY)
    @rule(length=st.integers(0, 2 * CAPACITY))
    def change_the_epoch(self, length: int) -> None:
        """Change the epoch. Connected clients drop their state and must join again."""
        self.logs[Epoch(f"{len(self.logs) + 1:016x}")] = []
        self.log.extend(self.messages(1, length))
        for client in self.here:
            client.shown, client.seen, client.here = [], None, False
        self.start_node(length, CAPACITY)

    @precondition(lambda self: self.gone)
    @rule(which=st.integers(0, 1))
    def come_back(self, which: int) -> None:
        client = self.gone[which % len(self.gone)]
        found = recover(self.ring, self.stream.position, client.seen)
        while found is Wanting.NEWER:
            assert client.seen is not None
            at = self.stream.position
            assert at.epoch == client.seen.epoch
            assert at.seq < client.seen.seq
            self.repair()
            found = recover(self.ring, self.stream.position, client.seen)
        if found is Wanting.OLDER:
            self.ring.extend_back(self.log[max(0, self.ring.start - self.ring.space) : self.ring.start])
            found = recover(self.ring, self.stream.position, client.seen)
        if isinstance(found, Recovered):
            assert client.seen is not None
            client.shown += found.frames
        else:
            self.check_that_recovery_was_impossible(client.seen)
            client.shown = list(newest(self.ring).frames)
        client.seen = self.stream.position
        client.here = True

    def check_that_recovery_was_impossible(self, seen: Position | None) -> None:
        assert seen is None or seen.epoch != self.epoch or self.stream.position.seq - seen.seq > CAPACITY

    @invariant()
    def a_client_shows_the_log_up_to_its_position(self) -> None:
        """Every event is shown in order and once, without a gap."""
        for client in self.clients:
            if client.seen is not None:
                log = self.logs[client.seen.epoch]
                assert client.shown == log[client.seen.seq - len(client.shown) : client.seen.seq]

    @invariant()
    def a_connected_client_is_at_the_nodes_position(self) -> None:
        for client in self.here:
            assert client.seen == self.stream.position


TestReturningClients = ReturningClients.TestCase
TestReturningClients.settings = settings(TestReturningClients.settings, max_examples=60, stateful_step_count=40)


@given(st.integers(0, 40), st.integers(0, 10), st.integers(0, 60) | st.none())
def test_recovery_returns_all_missed_events_or_a_reason(start: int, held: int, seen_seq: int | None) -> None:
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


def test_a_position_of_another_epoch_gets_the_newest_page() -> None:
    ring = Ring(0, frames(1, 5))
    assert recover(ring, Position(EPOCH, 5), Position(OTHER_EPOCH, 3)) == Newest(frames(1, 5))


def test_a_client_without_a_position_gets_the_newest_page() -> None:
    ring = Ring(0, frames(1, 80))
    assert recover(ring, Position(EPOCH, 80), None) == Newest(frames(81 - limits.RECENT_ON_JOIN, 80)) == newest(ring)


@pytest.mark.parametrize("content", [{"chat": "secret"}, {"gif": "secret.gif", "gif_info": {"url": "/gif/secret.gif"}}])
def test_a_redacted_message_keeps_its_seq_and_loses_its_content(content: dict[str, Any]) -> None:
    ring = Ring(0, [frame(1), frame(2, **content), frame(3)])
    ring.redact(2)
    assert seqs(ring.newest(3)) == [1, 2, 3]
    assert b"secret" not in ring.newest(2)[0].body
    assert json.loads(ring.newest(2)[0].body) == ["chat", {"seq": 2, "deleted": True}]


def test_a_late_page_does_not_restore_deleted_content() -> None:
    ring = Ring(2, [frame(3)])
    ring.redact(2)
    ring.extend_back([frame(1), frame(2, chat="secret")])
    assert seqs(ring.newest(3)) == [1, 2, 3]
    assert json.loads(ring.newest(2)[0].body) == ["chat", {"seq": 2, "deleted": True}]
    assert [b"secret" in each.body for each in ring.redacted([frame(2, chat="secret"), frame(5, chat="secret")])] == [
        False,
        True,
    ]


def test_the_ring_remembers_as_many_deletions_as_events() -> None:
    ring = Ring(5, [frame(6)], capacity=2)
    for seq in (1, 2, 3):
        ring.redact(seq)
    assert [b"deleted" in each.body for each in ring.redacted(frames(1, 3))] == [False, True, True]


def test_items_have_the_event_and_its_data() -> None:
    assert items_of([frame(7)]) == [{"event": "chat", "data": {"seq": 7, "chat": "message 7"}}]
