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
def test_frames_in_any_order_are_delivered_once_and_in_order(start: int, arrivals: list[int]) -> None:
    stream = Stream(Position(EPOCH, start))
    out = delivered(stream, arrivals)
    assert out == list(range(start + 1, start + 1 + len(out)))
    assert stream.position == Position(EPOCH, start + len(out))
    # Everything before the first missing frame is delivered.
    wanted = start
    while wanted + 1 in arrivals:
        wanted += 1
    assert stream.position.seq == wanted
    assert stream.has_gap == any(seq > wanted for seq in arrivals)

    out += delivered(stream, list(range(1, LAST + 1)))
    assert out == list(range(start + 1, LAST + 1))
    assert not stream.has_gap


@given(st.permutations(list(range(1, LAST + 1))), st.permutations(list(range(1, LAST + 1))))
def test_the_feed_and_the_log_merge_into_one_stream(feed: list[int], log: list[int]) -> None:
    mixed = [seq for pair in zip(feed, log, strict=True) for seq in pair]
    assert delivered(Stream(Position(EPOCH, 0)), mixed) == list(range(1, LAST + 1))


def test_receive_distinguishes_duplicates_gaps_and_deliveries() -> None:
    stream = Stream(Position(EPOCH, 4))
    assert stream.receive(frame(4)) is Outcome.DUPLICATE
    assert stream.receive(frame(7)) is Outcome.GAP
    assert stream.receive(frame(7)) is Outcome.DUPLICATE
    assert stream.receive(frame(6)) is Outcome.GAP
    assert stream.receive(frame(5)) == Deliver([frame(5), frame(6), frame(7)])
    assert stream.receive(frame(6)) is Outcome.DUPLICATE


def test_a_frame_of_another_epoch_needs_a_resync_and_changes_nothing() -> None:
    stream = Stream(Position(EPOCH, 4))
    assert stream.receive(frame(3, OTHER_EPOCH)) is Outcome.RESYNC
    assert stream.receive(frame(5, OTHER_EPOCH)) is Outcome.RESYNC
    assert stream.position == Position(EPOCH, 4)
    assert not stream.has_gap


def test_held_frames_are_bounded_and_still_delivered() -> None:
    stream = Stream(Position(EPOCH, 0), max_held=2)
    assert [stream.receive(frame(seq)) for seq in (3, 4, 5)] == [Outcome.GAP, Outcome.GAP, Outcome.RESYNC]
    assert delivered(stream, [1, 2]) == [1, 2, 3, 4]
    assert delivered(stream, [5]) == [5]


@dataclass
class RecordingListener:
    """The frames that a reader got since the last restart."""

    since: Position
    frames: list[Frame] = field(default_factory=list)


class StreamModel(RuleBasedStateMachine):
    """The model has the log of each epoch, and the seqs that the stream took since its start."""

    stream: Stream
    taken: set[int]

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[Epoch, list[Frame]] = {}
        self.in_flight: list[Frame] = []
        self.pages: list[list[Frame]] = []
        self.change_the_epoch()
        self.heard: list[RecordingListener] = []
        self.restart_stream()

    @property
    def newest_epoch(self) -> Epoch:
        return list(self.logs)[-1]

    @property
    def log(self) -> list[Frame]:
        """The log of the stream's epoch."""
        return self.logs[self.since.epoch]

    @property
    def since(self) -> Position:
        return self.heard[-1].since

    @property
    def reached(self) -> int:
        """The last seq before the first missing one."""
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
            self.may_restart = True
        elif frame.seq <= reached or frame.seq in held:
            assert outcome is Outcome.DUPLICATE
        elif frame.seq > reached + 1 and len(held) == MAX_HELD:
            assert outcome is Outcome.RESYNC
            self.may_restart = True
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
        self.in_flight += written

    @precondition(lambda self: self.logs[self.newest_epoch])
    @rule()
    def change_the_epoch(self) -> None:
        self.logs[Epoch(f"{len(self.logs) + 1:016x}")] = []

    @rule(which=st.lists(st.integers(0, 20), min_size=1, max_size=6), again=st.booleans())
    def arrive(self, which: list[int], again: bool) -> None:
        """Let frames arrive, in any order and maybe several times."""
        for each in which[: len(self.in_flight)]:
            at = each % len(self.in_flight)
            self.take(self.in_flight[at])
            if again:
                self.take(self.in_flight[at])
            else:
                del self.in_flight[at]

    @precondition(lambda self: self.in_flight)
    @rule(which=st.integers(0, 20))
    def lose_a_frame(self, which: int) -> None:
        del self.in_flight[which % len(self.in_flight)]

    @rule()
    def ask_for_a_page(self) -> None:
        at = self.stream.position.seq
        self.pages.append(self.log[at : at + PAGE])

    @precondition(lambda self: self.pages)
    @rule()
    def read_the_page(self) -> None:
        """Take a page. The stream may have advanced or restarted since the request."""
        for each in self.pages.pop(0):
            self.take(each)

    @precondition(lambda self: self.held)
    @rule()
    def forget_held(self) -> None:
        self.taken -= self.held
        self.stream.forget_held()

    @precondition(lambda self: self.may_restart)
    @rule()
    def restart_stream(self) -> None:
        self.heard.append(RecordingListener(Position(self.newest_epoch, len(self.logs[self.newest_epoch]))))
        self.taken = set()
        self.may_restart = False
        self.stream = Stream(self.since, MAX_HELD)

    @rule()
    def read_to_the_end(self) -> None:
        """Read the log until no frame is missing and none is held."""
        while self.stream.position.seq < len(self.log):
            before = self.stream.position.seq
            self.ask_for_a_page()
            for each in self.pages.pop():
                self.take(each)
            assert self.stream.position.seq > before
        assert self.heard[-1].frames == self.log[self.since.seq :]
        assert not self.stream.has_gap

    @invariant()
    def delivered_frames_are_the_log_from_the_start_position(self) -> None:
        """Frames are delivered in order and once, without a gap. Only a restart skips frames."""
        for heard in self.heard:
            first = heard.since.seq
            assert heard.frames == self.logs[heard.since.epoch][first : first + len(heard.frames)]

    @invariant()
    def the_position_is_before_the_first_missing_frame(self) -> None:
        assert self.stream.position == Position(self.since.epoch, self.reached)
        assert self.stream.has_gap == bool(self.held)


TestStreamModel = StreamModel.TestCase
TestStreamModel.settings = settings(TestStreamModel.settings, max_examples=50, stateful_step_count=40)
