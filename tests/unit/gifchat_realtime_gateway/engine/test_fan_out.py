"""Sending one event to many connections: the order, the recipients, and the number of writes."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gifchat_realtime_gateway.engine import fan_out, write_loop
from gifchat_realtime_gateway.engine.connection import Connection
from gifchat_realtime_gateway.engine.fan_out import FlushScheduler, Group, write_to
from gifchat_realtime_gateway.engine.websocket import deflated_frame, text_frame
from gifchat_realtime_gateway.engine.write_loop import Sink

try:
    from gifchat_realtime_gateway.engine import _write_loop
except ImportError:
    _write_loop = None  # type: ignore[assignment]

WriteLoop = Callable[[Sequence[Sink], bytes], list[tuple[int, int]]]


class Member(Sink):
    """A connection without direct writes, which records packets."""

    link = None

    def __init__(self) -> None:
        self.fd = -1
        self.got: list[str] = []
        self.writes = 0

    def send_frame(self, data: bytes, packets: list[bytes]) -> None:
        assert data == b"".join(text_frame(packet) for packet in packets)
        self.got += [packet.decode() for packet in packets]
        self.writes += 1


def as_connections(*members: Member) -> list[Connection]:
    return cast("list[Connection]", list(members))


def group_of(*members: Member) -> Group:
    group = Group(FlushScheduler())
    for connection in as_connections(*members):
        group.add(connection)
    return group


async def turn() -> None:
    await asyncio.sleep(0)


# -------------------------------------------------------------------------------------------------------- recipients


async def test_every_member_gets_every_packet_in_order() -> None:
    members = [Member() for _ in range(3)]
    group = group_of(*members)
    for packet in ("4a", "4b", "4c"):
        group.send(packet.encode())
    assert [member.got for member in members] == [[], [], []], "nothing is written before the end of the turn"
    await turn()
    assert [member.got for member in members] == [["4a", "4b", "4c"]] * 3
    assert len(group) == 3


async def test_packets_of_one_turn_are_one_write() -> None:
    member = Member()
    group = group_of(member)
    for number in range(10):
        group.send(f"4{number}".encode())
    await turn()
    assert member.writes == 1
    group.send(b"4a")
    await turn()
    assert member.writes == 2, "a lone packet leaves in its turn"


async def test_a_packet_for_an_empty_group_is_dropped() -> None:
    group, member = Group(FlushScheduler()), Member()
    group.send(b"4a")
    group.add(*as_connections(member))
    await turn()
    assert member.got == []


async def test_a_late_joiner_gets_only_later_packets() -> None:
    first, second, third = Member(), Member(), Member()
    group = group_of(first)
    group.send(b"4a")
    group.add(*as_connections(second))
    group.send(b"4b")
    group.add(*as_connections(third))
    await turn()
    group.send(b"4c")
    await turn()
    assert (first.got, second.got, third.got) == (["4a", "4b", "4c"], ["4b", "4c"], ["4c"])


async def test_adding_a_member_twice_changes_nothing() -> None:
    member = Member()
    group = group_of(member)
    group.send(b"4a")
    group.add(*as_connections(member))
    await turn()
    assert member.got == ["4a"]


async def test_a_leaver_gets_no_pending_packets() -> None:
    first, second = Member(), Member()
    group = group_of(first, second)
    group.send(b"4a")
    group.discard(*as_connections(second))
    group.send(b"4b")
    await turn()
    assert (first.got, second.got) == (["4a", "4b"], [])
    group.discard(*as_connections(second))


async def test_a_rejoiner_gets_only_packets_after_it_rejoined() -> None:
    member, other = Member(), Member()
    group = group_of(member, other)
    group.send(b"4a")
    group.discard(*as_connections(member))
    group.send(b"4b")
    group.add(*as_connections(member))
    group.send(b"4c")
    await turn()
    assert (member.got, other.got) == (["4c"], ["4a", "4b", "4c"])


async def test_excluded_members_get_the_other_packets() -> None:
    first, second, stranger = Member(), Member(), Member()
    group = group_of(first, second)
    group.send(b"4a", exclude=as_connections(first))
    group.send(b"4b")
    group.send(b"4c", exclude=as_connections(second, stranger))
    group.send(b"4d", exclude=as_connections(first, second))
    await turn()
    assert (first.got, second.got, stranger.got) == (["4b", "4c"], ["4a", "4b"], [])


async def test_an_excluded_late_joiner_gets_only_later_packets_for_it() -> None:
    first, second = Member(), Member()
    group = group_of(first)
    group.send(b"4a")
    group.add(*as_connections(second))
    group.send(b"4b", exclude=as_connections(second))
    group.send(b"4c")
    await turn()
    assert (first.got, second.got) == (["4a", "4b", "4c"], ["4c"])


# ------------------------------------------------------------------------------------------------------------- chunks


@pytest.fixture
def chunks_of_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "CHUNK_SIZE", 2)


@pytest.mark.usefixtures("chunks_of_2")
async def test_the_loop_has_its_turn_between_chunks() -> None:
    members = [Member() for _ in range(5)]
    group = group_of(*members)
    group.send(b"4a")
    reached = []
    for _ in range(4):
        await turn()
        reached.append(sum(member.got == ["4a"] for member in members))
    assert reached == [2, 4, 5, 5]


@pytest.mark.usefixtures("chunks_of_2")
async def test_packets_sent_between_chunks_come_later() -> None:
    members = [Member() for _ in range(5)]
    group = group_of(*members)
    group.send(b"4a")
    await turn()
    group.send(b"4b")
    group.send(b"4c")
    for _ in range(8):
        await turn()
    assert [member.got for member in members] == [["4a", "4b", "4c"]] * 5
    assert {member.writes for member in members} == {2}


@pytest.mark.usefixtures("chunks_of_2")
async def test_members_may_join_and_leave_between_chunks() -> None:
    members = [Member() for _ in range(6)]
    leaves, returns, comes = members[4], members[5], Member()
    group = group_of(*members)
    group.send(b"4a")
    await turn()
    group.discard(*as_connections(leaves))
    group.discard(*as_connections(returns))
    group.add(*as_connections(returns))
    group.add(*as_connections(comes))
    for _ in range(4):
        await turn()
    assert [member.got for member in members] == [["4a"]] * 4 + [[], []]
    assert comes.got == []
    group.send(b"4b")
    for _ in range(4):
        await turn()
    assert (leaves.got, returns.got, comes.got) == ([], ["4b"], ["4b"])


class Model(Member):
    """Checks that it gets exactly the packets that were sent to it since it last joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stay = 0
        self.inside = False
        self.due: dict[int, list[str]] = {}

    def send_frame(self, data: bytes, packets: list[bytes]) -> None:
        super().send_frame(data, packets)
        assert self.inside
        for packet in packets:
            assert self.due[self.stay].pop(0) == packet.decode(), "in order, once, and since the last join"


operations = st.one_of(
    st.tuples(st.sampled_from(["come", "go"]), st.integers(0, 6)),
    st.tuples(st.just("send"), st.sets(st.integers(0, 6), max_size=2)),
    st.tuples(st.just("turn"), st.none()),
)


@settings(max_examples=150)
@given(st.lists(operations, max_size=40), st.integers(1, 4))
def test_after_any_joins_and_leaves_each_member_gets_its_packets(steps: list[tuple[str, Any]], chunk: int) -> None:
    async def run() -> None:
        group, members, sent = Group(FlushScheduler()), [Model() for _ in range(7)], 0
        for step, value in steps:
            match step:
                case "come":
                    member = members[value]
                    if not member.inside:
                        member.inside, member.stay = True, member.stay + 1
                        member.due[member.stay] = []
                    group.add(*as_connections(member))
                case "go":
                    members[value].inside = False
                    group.discard(*as_connections(members[value]))
                case "send":
                    packet = f"4{sent}"
                    sent += 1
                    for number, member in enumerate(members):
                        if member.inside and number not in value:
                            member.due[member.stay].append(packet)
                    group.send(packet.encode(), exclude=as_connections(*(members[number] for number in value)))
                case "turn":
                    await turn()
        for _ in range(40):
            await turn()
        assert [member.due[member.stay] for member in members if member.inside and member.due[member.stay]] == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fan_out, "CHUNK_SIZE", chunk)
        asyncio.run(run())


# ------------------------------------------------------------------------------------------------------- compression


async def test_a_group_compresses_each_packet_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[bytes] = []

    def counted(packet: bytes) -> bytes:
        compressed.append(packet)
        return deflated_frame(packet)

    monkeypatch.setattr(fan_out, "deflated_frame", counted)
    plain, readers = [Raw() for _ in range(2)], [Raw(deflates=True) for _ in range(5)]
    group = Group(FlushScheduler(), deflates=True)
    for member in (plain[0], *readers, plain[1]):
        group.add(*cast("list[Connection]", [member]))
    packets = [b"4" + b"a" * 200, b"4b", b"4" + b"c" * 200]
    with monkeypatch.context() as patch:
        patch.setattr(fan_out, "CHUNK_SIZE", 2)
        for packet in packets:
            group.send(packet)
        for _ in range(5):
            await turn()
    assert [member.got for member in plain] == [[b"".join(map(text_frame, packets))]] * 2
    assert [member.got for member in readers] == [[b"".join(map(deflated_frame, packets))]] * 5
    assert compressed == packets
    compressed.clear()
    left_out = cast("list[Connection]", readers[:1])
    group.send(packets[0], exclude=left_out)
    await turn()
    assert readers[1].got[1:] == [deflated_frame(packets[0])]
    assert (len(readers[0].got), plain[0].got[1:]) == (1, [text_frame(packets[0])])
    for reader in readers:
        group.send(packets[0], exclude=cast("list[Connection]", [reader]))
    newcomer = Raw(deflates=True)
    group.add(*cast("list[Connection]", [newcomer]))
    group.send(packets[2])
    await turn()
    assert newcomer.got == [deflated_frame(packets[2])]
    assert [reader.got[-1] for reader in readers] == [deflated_frame(packets[0]) * 4 + deflated_frame(packets[2])] * 5
    assert len(compressed) == 1 + 6, "once each, also with exclusions"


class Raw(Sink):
    """A connection without direct writes, which records frames."""

    link = None

    def __init__(self, *, deflates: bool = False) -> None:
        self.fd = -1
        self.deflates = deflates
        self.got: list[bytes] = []

    def send_frame(self, data: bytes, _packets: list[bytes]) -> None:
        self.got.append(data)


# ------------------------------------------------------------------------------------------------------------- writes


class Socket(Sink):
    """A connection with direct writes. Its socket preserves the boundaries of writes."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.there.setblocking(False)
        self.here.setblocking(False)
        self.fd = self.here.fileno()
        self.link = self
        self.rest: list[bytes] = []

    def write_remainder(self, data: bytes) -> None:
        self.rest.append(data)

    def send_frame(self, data: bytes, packets: list[bytes]) -> None:
        raise AssertionError("it allows direct writes")

    def writes(self) -> list[bytes]:
        found = []
        with suppress(BlockingIOError):
            while data := self.there.recv(1 << 20):
                found.append(data)
        return found


@pytest.fixture
def sockets() -> Iterator[list[Socket]]:
    sockets = [Socket() for _ in range(3)]
    with ExitStack() as stack:
        for each in sockets:
            stack.enter_context(each.here)
            stack.enter_context(each.there)
        yield sockets


async def test_each_member_gets_one_write_for_all_packets(sockets: list[Socket]) -> None:
    group = group_of(*cast("list[Member]", sockets))
    packets = [b"4a", b"4b" * 100, b"4c"]
    for packet in packets:
        group.send(packet)
    await turn()
    joined = b"".join(map(text_frame, packets))
    assert [each.writes() for each in sockets] == [[joined]] * 3


@pytest.fixture(params=["in C", "in Python"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> WriteLoop:
    """Each of the two write loops in turn. All writes of the test use it."""
    found = loops()[request.param]
    if found is None:
        pytest.skip("the C loop was not built: no compiler")
    monkeypatch.setattr(fan_out, "write_all", found)
    return found


def loops() -> dict[str, WriteLoop | None]:
    return {"in C": None if _write_loop is None else _write_loop.write_all, "in Python": write_loop.python_write_all}


class Stream(Socket):
    """A connection that accepts only some of the bytes, like TCP with a slow reader."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (self.here, self.there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            end.setblocking(False)
        self.fd = self.here.fileno()
        self.link = self
        self.rest = []

    def fill(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self.here.send(b"x" * 1_000)

    def read(self) -> bytes:
        return b"".join(self.writes())


@pytest.fixture
def streams() -> Iterator[list[Stream]]:
    streams = [Stream() for _ in range(3)]
    with ExitStack() as stack:
        for each in streams:
            stack.enter_context(each.here)
            stack.enter_context(each.there)
        yield streams


@pytest.mark.usefixtures("loop")
def test_bytes_that_the_kernel_does_not_accept_go_to_the_link(streams: list[Stream]) -> None:
    whole, part, full = streams
    small, data = b"y" * 100, b"z" * 100_000
    full.fill()
    before = full.read()
    full.fill()
    assert write_to(cast("list[Connection]", [whole, full]), small, []) == 2
    assert (whole.read(), whole.rest, full.rest) == (small, [], [small])
    write_to(cast("list[Connection]", [part, whole]), data, [])
    for stream in (part, whole):
        taken = stream.read()
        assert 0 < len(taken) < len(data)
        assert taken + stream.rest[0] == data
    assert set(before) == set(b"x")


@pytest.mark.usefixtures("loop")
def test_a_connection_without_direct_writes_gets_packets_through_its_queue(sockets: list[Socket]) -> None:
    member = Member()
    data = text_frame(b"4a")
    assert write_to([*cast("list[Connection]", sockets), *as_connections(member)], data, [b"4a"]) == 4
    assert member.got == ["4a"]
    assert [each.writes() for each in sockets] == [[data]] * 3


def test_the_loop_reports_incomplete_writes(loop: WriteLoop, streams: list[Stream]) -> None:
    whole, full, broken = streams
    full.fill()
    broken.there.close()
    connections = [
        *cast("list[Connection]", [whole, full, broken]),
        *as_connections(Member()),
        cast("Connection", whole),
    ]
    assert loop(connections, b"4a") == [(1, 0), (2, write_loop.BROKEN), (3, write_loop.NOT_WRITABLE)]
    assert whole.read() == b"4a4a"
    assert loop([], b"4a") == []


def test_anything_but_a_connection_is_a_type_error(loop: WriteLoop, sockets: list[Socket]) -> None:
    with pytest.raises((AttributeError, TypeError)):
        loop(cast("list[Connection]", [sockets[0], object()]), b"4a")
    with pytest.raises(TypeError):
        loop(cast("list[Connection]", None), b"4a")


@pytest.mark.skipif(loops()["in C"] is None, reason="the C loop was not built: no compiler")
def test_the_c_loop_is_used_if_it_was_built() -> None:
    assert write_loop.write_all is loops()["in C"]


@pytest.mark.usefixtures("loop")
def test_a_broken_socket_does_not_affect_other_members(sockets: list[Socket]) -> None:
    sockets[1].there.close()
    data = text_frame(b"4a")
    write_to(cast("list[Connection]", sockets), data, [b"4a"])
    assert (sockets[0].writes(), sockets[2].writes()) == ([data], [data])
    assert sockets[1].rest == []
