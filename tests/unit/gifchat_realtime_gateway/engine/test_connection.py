"""One connection on any transport. Sleeps take no time, and the link only records what is written."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_realtime_gateway.engine.addresses import Addresses
from gifchat_realtime_gateway.engine.connection import (
    MAX_INBOX_MESSAGES,
    MAX_OUTBOX_BYTES,
    MAX_POLLED_PACKETS,
    MAX_THROTTLE_S,
    CloseReason,
    Connection,
    ConnectionClosedError,
    OverlappingPollError,
    State,
)
from gifchat_realtime_gateway.engine.intake import CLIENT_RATE, PACKETS_PER_TURN, Intake, IntakeBounds
from gifchat_realtime_gateway.engine.protocol import Action, InvalidPacketError
from gifchat_realtime_gateway.engine.websocket import CloseCode, text_frame
from gifchat_testkit.virtual_time import settle


def new_intake(bounds: IntakeBounds | None = None) -> Intake:
    return Addresses(bounds or IntakeBounds()).enter("192.0.2.1", guest=True)


class Owner:
    """Records calls. A test can hold up message handlers with `gate`."""

    def __init__(self) -> None:
        self.handled: list[str | bytes] = []
        self.handling = 0
        self.answers = 0
        self.ends: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.on_message: Callable[[str | bytes], None] = lambda _data: None

    async def handle_message(self, _connection: Connection, data: str | bytes) -> None:
        self.handling += 1
        assert self.handling == 1, "one at a time"
        await self.gate.wait()
        self.handled.append(data)
        self.on_message(data)
        self.handling -= 1

    def pong_received(self, _connection: Connection) -> None:
        self.answers += 1

    def connection_closed(self, _connection: Connection, reason: str) -> None:
        self.ends.append(reason)


class FakeLink:
    """A WebSocket that accepts everything."""

    deflates = False

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed_with: list[int] = []
        self.reading = True
        self.pauses = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def write_remainder(self, data: bytes) -> None:
        raise AssertionError("everything was accepted")

    def close(self, code: int, reason: str = "") -> None:
        self.closed_with.append(code)

    def pause_reading(self) -> None:
        self.pauses += self.reading
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def direct_fd(self) -> int:
        return 7


@pytest.fixture
async def owner() -> Owner:
    return Owner()


@pytest.fixture
def polling(owner: Owner) -> Connection:
    return Connection("sid", owner, {}, new_intake())


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def websocket(owner: Owner, link: FakeLink) -> Connection:
    return Connection("sid", owner, {}, new_intake(), link)


def say(connection: Connection, *messages: str | bytes) -> None:
    for message in messages:
        connection.receive(Action.MESSAGE, message)


# ----------------------------------------------------------------------------------------------------------- polling


async def test_a_poll_returns_the_waiting_packets(polling: Connection) -> None:
    polling.send("4a")
    polling.send(b"b")
    assert await polling.poll() == ["4a", b"b"]


async def test_a_poll_waits_for_a_packet(polling: Connection) -> None:
    poll = asyncio.create_task(polling.poll())
    await asyncio.sleep(10)
    assert not poll.done()
    polling.send("4a")
    polling.send("4b")
    assert await poll == ["4a", "4b"], "packets of the same turn come together"


async def test_a_poll_returns_at_most_16_packets(polling: Connection) -> None:
    packets = [f"4{number}" for number in range(2 * MAX_POLLED_PACKETS + 1)]
    for packet in packets:
        polling.send(packet)
    polls = [await polling.poll() for _ in range(3)]
    assert [len(poll) for poll in polls] == [MAX_POLLED_PACKETS, MAX_POLLED_PACKETS, 1]
    assert [packet for poll in polls for packet in poll] == packets


async def test_a_second_poll_is_refused_and_the_first_one_continues(polling: Connection) -> None:
    first = asyncio.create_task(polling.poll())
    await settle()
    with pytest.raises(OverlappingPollError):
        await polling.poll()
    polling.send("4a")
    assert await first == ["4a"]
    polling.send("4b")
    assert await polling.poll() == ["4b"]


async def test_a_cancelled_poll_loses_no_packet(polling: Connection) -> None:
    poll = asyncio.create_task(polling.poll())
    await settle()
    poll.cancel()
    await settle()
    polling.send("4a")
    assert await polling.poll() == ["4a"]


async def test_a_full_outbox_closes_the_connection(polling: Connection, owner: Owner) -> None:
    polling.send("4" + "x" * (MAX_OUTBOX_BYTES - 1))
    assert owner.ends == []
    polling.send("4")
    assert owner.ends == [CloseReason.SLOW_CONSUMER]
    with pytest.raises(ConnectionClosedError):  # The packets are dropped.
        await polling.poll()


async def test_polled_packets_do_not_count_towards_the_limit(polling: Connection, owner: Owner) -> None:
    for _ in range(4):
        polling.send("4" + "x" * (MAX_OUTBOX_BYTES - 1))
        await polling.poll()
    assert owner.ends == []


# --------------------------------------------------------------------------------------------------------------- end


@pytest.mark.parametrize("reason", [CloseReason.SERVER, CloseReason.PING_TIMEOUT, CloseReason.SLOW_CONSUMER])
async def test_the_poll_of_a_client_that_should_reconnect_fails(polling: Connection, reason: str) -> None:
    poll = asyncio.create_task(polling.poll())
    await settle()
    polling.close(reason)
    with pytest.raises(ConnectionClosedError):
        await poll


@pytest.mark.parametrize(("reason", "packet"), [(CloseReason.CLIENT, "6"), (CloseReason.TRANSPORT_ERROR, "1")])
async def test_other_ends_answer_the_poll_with_a_packet(polling: Connection, reason: str, packet: str) -> None:
    poll = asyncio.create_task(polling.poll())
    await settle()
    polling.close(reason)
    assert await poll == [packet]


async def test_waiting_packets_can_be_polled_after_the_server_closed(polling: Connection) -> None:
    polling.send("4a")
    polling.close(CloseReason.SERVER)
    polling.send("4b")
    assert await polling.poll() == ["4a"]
    with pytest.raises(ConnectionClosedError):
        await polling.poll()


async def test_a_lingering_connection_is_closed_once_its_packets_are_polled(polling: Connection) -> None:
    packets = [f"4{number}" for number in range(MAX_POLLED_PACKETS + 1)]
    for packet in packets:
        polling.send(packet)
    polling.close(CloseReason.SERVER)
    polling.linger()
    polling.send("4late")
    assert await polling.poll() == packets[:-1]
    assert (polling.state, polling.closed) == (State.LINGERING, True)
    assert await polling.poll() == packets[-1:]
    assert polling.state is State.CLOSED


async def test_a_connection_closes_once(
    polling: Connection, websocket: Connection, owner: Owner, link: FakeLink
) -> None:
    for connection in (polling, websocket):
        connection.close(CloseReason.SERVER)
        connection.close(CloseReason.PING_TIMEOUT)
        connection.pong_missed()
        assert connection.closed
        assert connection.fd == -1
    assert owner.ends == [CloseReason.SERVER] * 2
    assert link.closed_with == [CloseCode.GOING_AWAY]


async def test_a_closed_connection_neither_receives_nor_sends(
    websocket: Connection, owner: Owner, link: FakeLink
) -> None:
    websocket.ping()
    websocket.receive(Action.CLOSE, "")
    assert link.closed_with == [CloseCode.NORMAL]
    written = len(link.written)
    say(websocket, "late")
    websocket.receive(Action.PONG, "")
    websocket.receive(Action.CLOSE, "")
    websocket.send("4late")
    websocket.send_frame(text_frame(b"4late"), [b"4late"])
    await settle()
    assert (owner.handled, owner.answers, owner.ends) == ([], 0, [CloseReason.CLIENT])
    assert len(link.written) == written


async def test_only_a_pong_after_a_ping_counts(websocket: Connection, owner: Owner, link: FakeLink) -> None:
    websocket.receive(Action.PONG, "")
    assert owner.answers == 0
    websocket.ping()
    assert link.written == [text_frame(b"2")]
    websocket.receive(Action.PONG, "")
    websocket.receive(Action.PONG, "")
    assert owner.answers == 1


# ----------------------------------------------------------------------------------------------------------- upgrade


async def test_an_upgrade_keeps_the_order_and_loses_no_packet(polling: Connection, link: FakeLink) -> None:
    polling.send("4a")
    polling.start_probe()
    polling.send("4b")
    assert await polling.poll() == ["4a", "4b"], "polling continues until the probe is answered"
    poll = asyncio.create_task(polling.poll())
    await asyncio.sleep(5)
    assert not poll.done()
    polling.probe_answered()
    assert await poll == ["6"]
    assert await polling.poll() == ["6"], "a poll does not wait while switching"
    polling.send("4c")
    polling.send(b"d")
    polling.upgrade(link)
    polling.send("4e")
    assert link.written == [text_frame(b"4c"), b"\x82\x01d", text_frame(b"4e")]
    assert (polling.state, polling.fd) == (State.WEBSOCKET, 7)


async def test_packets_sent_after_the_probe_was_answered_go_to_the_websocket(
    polling: Connection, link: FakeLink
) -> None:
    poll = asyncio.create_task(polling.poll())
    await settle()
    polling.start_probe()
    polling.probe_answered()
    polling.send("4a")
    polling.upgrade(link)
    assert await poll == ["6"]
    assert link.written == [text_frame(b"4a")]


async def test_polling_continues_after_a_failed_probe(polling: Connection) -> None:
    for probed in (False, True):
        polling.start_probe()
        if probed:
            polling.probe_answered()
        polling.probe_failed()
        poll = asyncio.create_task(polling.poll())
        await asyncio.sleep(5)
        assert not poll.done()
        polling.send("4a")
        assert await poll == ["4a"]


async def test_closed_and_upgraded_connections_are_not_upgraded(polling: Connection, websocket: Connection) -> None:
    polling.start_probe()
    polling.close(CloseReason.SERVER)
    for connection in (polling, websocket):
        with pytest.raises(InvalidPacketError):
            connection.probe_answered()
        connection.probe_failed()
    assert (polling.state, websocket.state) == (State.CLOSED, State.WEBSOCKET)


steps = st.lists(st.sampled_from(["send", "poll", "turn", "probe", "fail", "probed", "upgrade"]), max_size=40)


@given(steps)
def test_in_any_upgrade_the_client_gets_every_packet_once_and_in_order(actions: list[str]) -> None:
    async def run() -> None:
        owner, link = Owner(), FakeLink()
        connection = Connection("sid", owner, {}, new_intake())
        got: list[str | bytes] = []
        polls: deque[asyncio.Task[list[str | bytes]]] = deque()
        sent = 0

        async def collect() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            while polls and polls[0].done():
                got.extend(packet for packet in polls.popleft().result() if packet != "6")

        for action in actions:
            await collect()
            match action:
                case "send":
                    connection.send(f"4{sent}")
                    sent += 1
                case "poll" if not polls and connection.link is None:
                    polls.append(asyncio.create_task(connection.poll()))
                case "turn":
                    await asyncio.sleep(0)
                case "probe" if connection.state is State.POLLING:
                    connection.start_probe()
                case "fail":
                    connection.probe_failed()
                case "probed" if connection.state is State.PROBING:
                    connection.probe_answered()
                # A client sends UPGRADE only after its poll has returned.
                case "upgrade" if connection.state is State.SWITCHING and not polls:
                    connection.upgrade(link)
        await collect()
        if connection.link is None:
            while connection._outbox:
                if not polls:
                    polls.append(asyncio.create_task(connection.poll()))
                await collect()
        for poll in polls:
            poll.cancel()
        got += ["4" + frame[3:].decode() for frame in link.written]
        assert got == [f"4{number}" for number in range(sent)]

    asyncio.run(run())


# ------------------------------------------------------------------------------------------------------------- inbox


async def test_messages_are_handled_one_at_a_time_in_order(websocket: Connection, owner: Owner) -> None:
    owner.gate.clear()
    say(websocket, "a", "b", b"c")
    await settle()
    assert owner.handled == []
    owner.gate.set()
    await settle()
    assert owner.handled == ["a", "b", b"c"]
    assert not websocket.is_handling
    say(websocket, "d")
    await settle()
    assert owner.handled[-1] == "d"


async def test_an_idle_connection_has_no_task(websocket: Connection) -> None:
    tasks = asyncio.all_tasks()
    say(websocket, "a")
    assert len(asyncio.all_tasks()) == len(tasks) + 1
    await settle()
    assert asyncio.all_tasks() == tasks


async def test_reading_pauses_while_the_inbox_is_full(websocket: Connection, owner: Owner, link: FakeLink) -> None:
    owner.gate.clear()
    say(websocket, "first")
    await settle()
    say(websocket, *["x"] * MAX_INBOX_MESSAGES)
    assert link.reading
    say(websocket, "over", "over")
    assert not link.reading
    owner.gate.set()
    await settle()
    assert link.reading
    assert link.pauses == 1
    assert len(owner.handled) == MAX_INBOX_MESSAGES + 3


async def test_a_post_waits_for_space_in_the_inbox(polling: Connection, owner: Owner) -> None:
    owner.gate.clear()
    say(polling, "first")
    await settle()
    await polling.wait_for_inbox_space()
    say(polling, *["x"] * (MAX_INBOX_MESSAGES + 1))
    waiting = asyncio.create_task(polling.wait_for_inbox_space())
    await asyncio.sleep(5)
    assert not waiting.done()
    owner.gate.set()
    await waiting
    assert len(owner.handled) == MAX_INBOX_MESSAGES + 2


@pytest.mark.parametrize("reason", [CloseReason.CLIENT, CloseReason.TRANSPORT_CLOSE])
async def test_messages_before_the_client_left_are_handled(websocket: Connection, owner: Owner, reason: str) -> None:
    owner.gate.clear()
    say(websocket, "a", "b")
    websocket.close(reason)
    say(websocket, "late")
    wait_until_idle = asyncio.create_task(websocket.wait_until_idle())
    await settle()
    assert not wait_until_idle.done()
    owner.gate.set()
    await wait_until_idle
    assert owner.handled == ["a", "b"]


@pytest.mark.parametrize(
    "reason",
    [CloseReason.SERVER, CloseReason.PING_TIMEOUT, CloseReason.TRANSPORT_ERROR, CloseReason.SLOW_CONSUMER],
)
async def test_when_we_close_only_the_in_flight_message_is_handled(
    websocket: Connection, owner: Owner, reason: str
) -> None:
    owner.gate.clear()
    say(websocket, "a", "b", "c")
    await settle()
    websocket.close(reason)
    owner.gate.set()
    await websocket.wait_until_idle()
    assert owner.handled == ["a"], "the in-flight message is handled"


async def test_an_invalid_message_is_the_last_one_handled(websocket: Connection, owner: Owner) -> None:
    def close_at_b(data: str | bytes) -> None:
        if data == "b":
            websocket.close(CloseReason.TRANSPORT_ERROR)

    owner.on_message = close_at_b
    say(websocket, "a", "b", "c")
    websocket.close(CloseReason.CLIENT)
    await websocket.wait_until_idle()
    assert owner.handled == ["a", "b"]


async def test_a_connection_refuses_packets_of_an_upgrade(websocket: Connection) -> None:
    for action in (Action.ANSWER_PROBE, Action.UPGRADE):
        with pytest.raises(InvalidPacketError):
            websocket.receive(action, "")


# ------------------------------------------------------------------------------------------------------------ budget


async def test_handlers_that_never_wait_let_others_have_a_turn(owner: Owner, websocket: Connection) -> None:
    turns: list[int] = []

    async def count_turns() -> None:
        while True:
            turns.append(len(owner.handled))
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    say(websocket, *map(str, range(10 * PACKETS_PER_TURN)))
    await websocket.wait_until_idle()
    counting.cancel()
    assert len(owner.handled) == 10 * PACKETS_PER_TURN
    assert max(after - before for before, after in pairwise(turns)) == PACKETS_PER_TURN


async def test_messages_wait_while_the_client_is_in_debt(owner: Owner, websocket: Connection) -> None:
    now_s = asyncio.get_running_loop().time()
    websocket.intake.spend(CLIENT_RATE.packets_at_once + 5 * CLIENT_RATE.packets_per_s, 0, now_s)
    say(websocket, "a")
    await asyncio.sleep(4.9)
    assert owner.handled == []
    await asyncio.sleep(0.2)
    assert owner.handled == ["a"]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_client_that_stays_in_debt_is_disconnected(
    owner: Owner, link: FakeLink, request: pytest.FixtureRequest, transport: str
) -> None:
    connection: Connection = request.getfixturevalue(transport)
    now_s = asyncio.get_running_loop().time()
    connection.intake.spend(CLIENT_RATE.packets_at_once + 100 * CLIENT_RATE.packets_per_s, 0, now_s)
    say(connection, "a", "b")
    await asyncio.sleep(IntakeBounds().overspending_s + MAX_THROTTLE_S + 0.1)
    assert owner.handled == []
    assert owner.ends == [CloseReason.RATE_LIMITED]
    if transport == "websocket":
        assert link.closed_with == [CloseCode.RATE_LIMITED]
    else:
        with pytest.raises(ConnectionClosedError):
            await connection.poll()


async def test_the_messages_of_a_client_that_left_in_debt_are_dropped_in_the_end(
    owner: Owner, websocket: Connection
) -> None:
    now_s = asyncio.get_running_loop().time()
    websocket.intake.spend(CLIENT_RATE.packets_at_once + 100 * CLIENT_RATE.packets_per_s, 0, now_s)
    say(websocket, "a", "b")
    websocket.close(CloseReason.TRANSPORT_CLOSE)
    async with asyncio.timeout(IntakeBounds().overspending_s + 2 * MAX_THROTTLE_S):
        await websocket.wait_until_idle()
    assert owner.handled == []
    assert owner.ends == [CloseReason.TRANSPORT_CLOSE]
