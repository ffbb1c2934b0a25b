from hypothesis import example, given
from hypothesis import strategies as st

from realtime_gateway.domain.stream import Deliver, Outcome, Stream
from room_contracts.codec import Frame, Kind
from room_contracts.ids import Epoch
from room_contracts.position import Position

EPOCH, OTHER_EPOCH = Epoch("a" * 16), Epoch("b" * 16)
LAST = 12


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
