"""The queue of pictures: bounded, and fair to every address by the cost of its work."""

import pytest

from gifchat_rooms_api.domain.fair_queue import FairQueue, Place, QueueFullError


def queue(**bounds: int) -> FairQueue[str]:
    return FairQueue(**({"at_once": 1, "at_once_each": 1, "waiting": 100, "waiting_each": 100} | bounds))


def drained(works: FairQueue[str], places: dict[str, Place[str]]) -> list[str]:
    """Do all work, one after the other."""
    done = []
    while (work := works.start_next()) is not None:
        done.append(work)
        works.remove(places[work])
    return done


def test_works_of_one_party_are_started_in_order() -> None:
    works = queue()
    places = {name: works.add("anne", 5, name) for name in "abc"}
    assert drained(works, places) == ["a", "b", "c"]


def test_a_newcomer_passes_the_backlog_of_another_party() -> None:
    works = queue()
    places = {name: works.add("anne", 5, name) for name in "abcd"}
    assert works.start_next() == "a"
    places["z"] = works.add("bob", 5, "z")
    assert works.start_next() is None, "one at once"
    works.remove(places["a"])
    assert drained(works, places) == ["z", "b", "c", "d"]


def test_cheap_work_is_started_more_often_than_dear_work() -> None:
    works = queue()
    places = {name: works.add("anne", 100, name) for name in ("dear 1", "dear 2", "dear 3")}
    places |= {f"cheap {number}": works.add("bob", 10, f"cheap {number}") for number in range(9)}
    done = drained(works, places)
    assert done.index("dear 2") > 8, "a dear work costs as much as ten cheap ones"
    assert done[-1] == "dear 3"


def test_nobody_saves_up_while_away() -> None:
    works = queue()
    places = {f"anne {number}": works.add("anne", 10, f"anne {number}") for number in range(10)}
    for number in range(9):
        assert works.start_next() == f"anne {number}"
        works.remove(places[f"anne {number}"])
    places |= {f"bob {number}": works.add("bob", 10, f"bob {number}") for number in range(3)}
    places["anne 10"] = works.add("anne", 10, "anne 10")
    assert drained(works, places) == ["bob 0", "anne 9", "bob 1", "bob 2", "anne 10"], "in turns"


def test_one_party_does_not_take_every_slot() -> None:
    works = queue(at_once=3, at_once_each=2)
    for name in "abc":
        works.add("anne", 1, name)
    assert [works.start_next() for _ in range(3)] == ["a", "b", None]
    works.add("bob", 1, "z")
    assert [works.start_next(), works.start_next()] == ["z", None]


def test_the_queue_is_bounded_in_all_and_for_each_party() -> None:
    works = queue(waiting=3, waiting_each=2)
    works.add("anne", 1, "a")
    works.add("anne", 1, "b")
    with pytest.raises(QueueFullError):
        works.add("anne", 1, "c")
    works.add("bob", 1, "y")
    with pytest.raises(QueueFullError):
        works.add("cora", 1, "z")
    assert works.start_next() == "a"
    works.add("cora", 1, "z")


def test_removed_work_is_never_started() -> None:
    works = queue()
    first, second, third = (works.add("anne", 1, name) for name in "abc")
    assert works.start_next() == "a"
    works.remove(second)
    works.remove(first)
    assert works.start_next() == "c"
    works.remove(third)
    assert works.start_next() is None
