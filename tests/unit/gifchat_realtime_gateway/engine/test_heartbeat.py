"""When the heartbeat pings and closes connections, with a clock that the test sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_realtime_gateway.engine.heartbeat import Heartbeat

INTERVAL_S, TIMEOUT_S = 25.0, 20.0
MIN_PAUSE_S = TIMEOUT_S / 100
RESOLUTION_S = 0.001 + 1e-6


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Client:
    """A client that answers pings only if `answers` is true."""

    def __init__(self, heartbeat: Heartbeat, clock: Clock, *, answers: bool = True) -> None:
        self.heartbeat_generation = 0
        self.answers = answers
        self.pinged: list[float] = []
        self.missed: list[float] = []
        self._heartbeat = heartbeat
        self._clock = clock

    def ping(self) -> None:
        self.pinged.append(self._clock())
        if self.answers:
            self._heartbeat.schedule_ping(self)

    def pong_missed(self) -> None:
        self.missed.append(self._clock())


class Time:
    """A heartbeat and its clock."""

    def __init__(self, interval_s: float = INTERVAL_S, timeout_s: float = TIMEOUT_S) -> None:
        self.clock = Clock()
        self.started_at_s = self.clock()
        self.heartbeat = Heartbeat(interval_s, timeout_s, self.clock)

    def client(self, *, answers: bool = True) -> Client:
        client = Client(self.heartbeat, self.clock, answers=answers)
        self.heartbeat.schedule_ping(client)
        return client

    def advance(self, seconds: float, tick_s: float = 0.25) -> None:
        for _ in range(round(seconds / tick_s)):
            self.clock.now_s += tick_s
            self.heartbeat.turn()

    def since(self, times: list[float]) -> list[float]:
        return [time - self.started_at_s for time in times]


@pytest.fixture
def time() -> Time:
    return Time()


def test_the_first_ping_comes_after_the_interval(time: Time) -> None:
    client = time.client()
    time.advance(INTERVAL_S - 0.25)
    assert client.pinged == []
    time.advance(0.25)
    assert time.since(client.pinged) == [INTERVAL_S]


def test_a_client_that_answers_is_pinged_after_every_interval(time: Time) -> None:
    client = time.client()
    time.advance(INTERVAL_S * 10)
    assert time.since(client.pinged) == [INTERVAL_S * times for times in range(1, 11)]
    assert client.missed == []


def test_a_client_that_does_not_answer_is_closed_once(time: Time) -> None:
    client = time.client(answers=False)
    time.advance(INTERVAL_S + TIMEOUT_S - 0.25)
    assert client.missed == []
    time.advance(200)
    assert time.since(client.pinged) == [INTERVAL_S]
    assert time.since(client.missed) == [INTERVAL_S + TIMEOUT_S]


def test_a_pong_in_the_last_moment_counts(time: Time) -> None:
    client = time.client(answers=False)
    time.advance(INTERVAL_S + TIMEOUT_S - 0.25)
    time.heartbeat.schedule_ping(client)
    time.advance(INTERVAL_S - 0.25)
    assert client.missed == []
    time.advance(0.25)
    assert len(client.pinged) == 2


def test_a_closed_connection_is_neither_pinged_nor_closed_again(time: Time) -> None:
    before_ping, after_ping = time.client(), time.client(answers=False)
    before_ping.heartbeat_generation += 1
    time.advance(INTERVAL_S)
    after_ping.heartbeat_generation += 1
    time.advance(100)
    assert before_ping.pinged == []
    assert len(after_ping.pinged) == 1
    assert after_ping.missed == []


def test_a_connection_that_closes_during_its_ping_does_not_disturb_others(time: Time) -> None:
    first, second, third = time.client(), time.client(), time.client()

    def ping_and_go() -> None:
        second.heartbeat_generation += 1

    second.ping = ping_and_go  # type: ignore[method-assign]
    time.advance(INTERVAL_S + TIMEOUT_S)
    assert len(first.pinged) == len(third.pinged) == 1
    assert second.missed == []


def test_after_a_stalled_loop_clients_still_have_the_whole_timeout(time: Time) -> None:
    client = time.client(answers=False)
    time.advance(300, tick_s=300)
    assert len(client.pinged) == 1
    assert client.missed == []
    time.advance(TIMEOUT_S - 0.25)
    assert client.missed == []
    time.advance(0.25)
    assert len(client.missed) == 1


@given(st.lists(st.floats(0, 0.1), max_size=20), st.sampled_from([(0.3, 0.2), (0.2, 0.3), (25.0, 20.0), (20.0, 60.0)]))
def test_turns_become_more_frequent_with_short_times(arrivals: list[float], times_s: tuple[float, float]) -> None:
    interval_s, timeout_s = times_s
    time = Time(interval_s, timeout_s)
    late_s = min(times_s) / 100 + 1e-6
    clients, turns = [], 0
    next_turn_s = time.clock() + time.heartbeat.turn()
    for after_s in [0.0, *arrivals, 2 * (interval_s + timeout_s)]:
        ends_at_s = time.clock() + after_s
        while next_turn_s < ends_at_s:
            time.clock.now_s = next_turn_s
            next_turn_s += time.heartbeat.turn()
            turns += 1
        time.clock.now_s = ends_at_s
        clients.append((ends_at_s, time.client(answers=False)))
    for came_at_s, client in clients[:-1]:
        assert abs(client.pinged[0] - came_at_s - interval_s) <= late_s
        assert abs(client.missed[0] - came_at_s - interval_s - timeout_s) <= 2 * late_s
    assert turns <= (time.clock() - time.started_at_s) * max(100 / min(times_s), 4.0) + 1


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=20), st.floats(0.05, 3))
def test_no_connection_is_handled_more_than_one_turn_late(arrivals: list[tuple[float, bool]], tick_s: float) -> None:
    time = Time()
    clients = []
    for after_s, answers in arrivals:
        time.clock.now_s += after_s
        time.heartbeat.turn()
        clients.append((time.clock(), time.client(answers=answers)))
    time.advance(200, tick_s)
    # The next turn comes after a tick, or when the next client arrives.
    late_s = max([tick_s, *(after_s for after_s, _ in arrivals)]) + 1e-6
    for came_at_s, client in clients:
        assert client.pinged[0] - came_at_s + RESOLUTION_S >= INTERVAL_S
        assert client.pinged[0] - came_at_s <= INTERVAL_S + late_s
        if client.answers:
            assert client.missed == []
        else:
            assert len(client.pinged) == len(client.missed) == 1
            assert client.missed[0] - client.pinged[0] + MIN_PAUSE_S + RESOLUTION_S >= TIMEOUT_S
            assert client.missed[0] - client.pinged[0] <= TIMEOUT_S + late_s
