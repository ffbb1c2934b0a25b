from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.ids import Epoch
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.hosted_room import Deliver, Outcome, Stream

EPOCH, OTHER_EPOCH = Epoch("a" * 16), Epoch("b" * 16)
LAST = 12
MAX_HELD, PAGE = 2, 5


def frame(seq: int, epoch: Epoch = EPOCH) -> Frame:
    return Frame(Kind.CHAT, b'["chat",{}]', epoch, seq)


def delivered(stream: Stream, seqs: list[int]) -> list[int]:
    out: list[int] = []
    for seq in seqs:
        outcome = stream.receive(frame(seq))
        if isinstance(outcome, Deliver):
            out += [each.seq for each in outcome.frames]
    return out


@given(st.integers(0, 5), st.lists(st.integers(1, LAST)))
@example(0, [3, 2, 2, 1, 3])
def test_whatever_arrives_each_is_delivered_once_and_in_order(start: int, arrivals: list[int]) -> None:
    stream = Stream(Position(EPOCH, start))
    out = delivered(stream, arrivals)
    assert out == list(range(start + 1, start + 1 + len(out)))
    assert stream.position == Position(EPOCH, start + len(out))
    # As much as can be: everything up to the first that never came.
    wanted = start
    while wanted + 1 in arrivals:
        wanted += 1
    assert stream.position.seq == wanted
    assert stream.has_gap == any(seq > wanted for seq in arrivals)

    out += delivered(stream, list(range(1, LAST + 1)))
    assert out == list(range(start + 1, LAST + 1))
    assert not stream.has_gap


@given(st.permutations(list(range(1, LAST + 1))), st.permutations(list(range(1, LAST + 1))))
def test_two_sources_in_any_order_give_one_stream(feed: list[int], log: list[int]) -> None:
    mixed = [seq for pair in zip(feed, log, strict=True) for seq in pair]
    assert delivered(Stream(Position(EPOCH, 0)), mixed) == list(range(1, LAST + 1))


def test_outcomes_say_what_came() -> None:
    stream = Stream(Position(EPOCH, 4))
    assert stream.receive(frame(4)) is Outcome.DUPLICATE
    assert stream.receive(frame(7)) is Outcome.GAP
    assert stream.receive(frame(7)) is Outcome.DUPLICATE
    assert stream.receive(frame(6)) is Outcome.GAP
    assert stream.receive(frame(5)) == Deliver([frame(5), frame(6), frame(7)])
    assert stream.receive(frame(6)) is Outcome.DUPLICATE


def test_another_numbering_is_no_duplicate_and_moves_nothing() -> None:
    stream = Stream(Position(EPOCH, 4))
    assert stream.receive(frame(3, OTHER_EPOCH)) is Outcome.RESYNC
    assert stream.receive(frame(5, OTHER_EPOCH)) is Outcome.RESYNC
    assert stream.position == Position(EPOCH, 4)
    assert not stream.has_gap


def test_no_more_is_held_than_the_bound_and_what_is_held_still_helps() -> None:
    stream = Stream(Position(EPOCH, 0), max_held=2)
    assert [stream.receive(frame(seq)) for seq in (3, 4, 5)] == [Outcome.GAP, Outcome.GAP, Outcome.RESYNC]
    assert delivered(stream, [1, 2]) == [1, 2, 3, 4]
    assert delivered(stream, [5]) == [5]


@dataclass
class Heard:
    """What a reader was given since it was last told to begin anew."""

    since: Position
    frames: list[Frame] = field(default_factory=list)


class StreamAgainstALog(RuleBasedStateMachine):
    """The model: the log of each numbering, and a set of the seqs that the stream took since it began."""

    stream: Stream
    taken: set[int]

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[Epoch, list[Frame]] = {}
        self.on_the_way: list[Frame] = []
        self.pages: list[list[Frame]] = []
        self.restart_numbering()
        self.heard: list[Heard] = []
        self.start_anew()

    @property
    def newest_epoch(self) -> Epoch:
        return list(self.logs)[-1]

    @property
    def log(self) -> list[Frame]:
        """Of the stream's numbering."""
        return self.logs[self.since.epoch]

    @property
    def since(self) -> Position:
        return self.heard[-1].since

    @property
    def reached(self) -> int:
        """Everything up to here was taken."""
        seq = self.since.seq
        while seq + 1 in self.taken:
            seq += 1
        return seq

    @property
    def held(self) -> set[int]:
        return {seq for seq in self.taken if seq > self.reached}

    def take(self, frame: Frame) -> None:
        reached, held = self.reached, self.held
        outcome = self.stream.receive(frame)
        if frame.epoch != self.since.epoch:
            assert outcome is Outcome.RESYNC
            self.may_start_anew = True
        elif frame.seq <= reached or frame.seq in held:
            assert outcome is Outcome.DUPLICATE
        elif frame.seq > reached + 1 and len(held) == MAX_HELD:
            assert outcome is Outcome.RESYNC
            self.may_start_anew = True
        else:
            self.taken.add(frame.seq)
            if self.reached == reached:
                assert outcome is Outcome.GAP
            else:
                assert isinstance(outcome, Deliver)
                self.heard[-1].frames += outcome.frames

    @rule(count=st.integers(1, 3 * MAX_HELD))
    def write(self, count: int) -> None:
        log = self.logs[self.newest_epoch]
        written = [
            Frame(Kind.CHAT, f"{self.newest_epoch} {seq}".encode(), self.newest_epoch, seq)
            for seq in range(len(log) + 1, len(log) + count + 1)
        ]
        log += written
        self.on_the_way += written

    @precondition(lambda self: self.logs[self.newest_epoch])
    @rule()
    def restart_numbering(self) -> None:
        self.logs[Epoch(f"{len(self.logs) + 1:016x}")] = []

    @rule(which=st.lists(st.integers(0, 20), min_size=1, max_size=6), again=st.booleans())
    def arrive(self, which: list[int], again: bool) -> None:
        """In any order, and maybe twice now and not for the last time."""
        for each in which[: len(self.on_the_way)]:
            at = each % len(self.on_the_way)
            self.take(self.on_the_way[at])
            if again:
                self.take(self.on_the_way[at])
            else:
                del self.on_the_way[at]

    @precondition(lambda self: self.on_the_way)
    @rule(which=st.integers(0, 20))
    def get_lost(self, which: int) -> None:
        del self.on_the_way[which % len(self.on_the_way)]

    @rule()
    def ask_for_a_page(self) -> None:
        at = self.stream.position.seq
        self.pages.append(self.log[at : at + PAGE])

    @precondition(lambda self: self.pages)
    @rule()
    def read_the_page(self) -> None:
        """The stream may have gone on since it was asked for, or have begun anew."""
        for each in self.pages.pop(0):
            self.take(each)

    @precondition(lambda self: self.held)
    @rule()
    def forget_held(self) -> None:
        self.taken -= self.held
        self.stream.forget_held()

    @precondition(lambda self: self.may_start_anew)
    @rule()
    def start_anew(self) -> None:
        self.heard.append(Heard(Position(self.newest_epoch, len(self.logs[self.newest_epoch]))))
        self.taken = set()
        self.may_start_anew = False
        self.stream = Stream(self.since, MAX_HELD)

    @rule()
    def read_to_the_end(self) -> None:
        """Whatever was lost or refused: the log makes it good, and nothing waits any more."""
        while self.stream.position.seq < len(self.log):
            before = self.stream.position.seq
            self.ask_for_a_page()
            for each in self.pages.pop():
                self.take(each)
            assert self.stream.position.seq > before
        assert self.heard[-1].frames == self.log[self.since.seq :]
        assert not self.stream.has_gap

    @invariant()
    def what_was_heard_is_the_log_from_where_it_began(self) -> None:
        """In order, once, without a hole, and only a new beginning leaves something out."""
        for heard in self.heard:
            first = heard.since.seq
            assert heard.frames == self.logs[heard.since.epoch][first : first + len(heard.frames)]

    @invariant()
    def it_got_as_far_as_can_be(self) -> None:
        assert self.stream.position == Position(self.since.epoch, self.reached)
        assert self.stream.has_gap == bool(self.held)


TestStreamAgainstALog = StreamAgainstALog.TestCase
TestStreamAgainstALog.settings = settings(TestStreamAgainstALog.settings, max_examples=50, stateful_step_count=40)
