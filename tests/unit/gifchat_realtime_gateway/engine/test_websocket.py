"""WebSocket frames against RFC 6455 and another implementation. Numbers in parentheses are sections of the RFC."""

import base64
import os
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import CLIENT, SERVER, State
from websockets.protocol import Protocol as OtherProtocol
from websockets.utils import accept_key as other_accept_key

from gifchat_realtime_gateway.engine.deflate import deflate
from gifchat_realtime_gateway.engine.websocket import (
    CloseCode,
    Closing,
    Event,
    Failed,
    Message,
    Opcode,
    Parser,
    Ping,
    accept_key,
    close_frame,
    deflated_frame,
    frame,
    text_frame,
)
from gifchat_testkit.raw_websocket import client_frame, close_payload

MAX_BYTES = 70_000
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
BOUNDARY_SIZES = (0, 1, 125, 126, 127, 65_535, 65_536)


def parse(data: bytes, max_bytes: int = MAX_BYTES) -> list[Event]:
    return Parser(max_bytes).feed(data)


def parse_split(data: bytes, cuts: list[int], max_bytes: int = MAX_BYTES) -> list[Event]:
    parser = Parser(max_bytes)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [event for begin, end in pairwise(places) for event in parser.feed(data[begin:end])]


def failure(data: bytes, max_bytes: int = MAX_BYTES) -> CloseCode:
    """Return the close code for these invalid bytes. Checks that no event follows."""
    parser = Parser(max_bytes)
    *_, last = parser.feed(data)
    assert isinstance(last, Failed)
    assert parser.feed(client_frame(TEXT, b"more")) == []
    return last.code


def test_the_parser_stops_after_a_number_of_frames_and_continues_later() -> None:
    data = b"".join(client_frame(TEXT, str(number).encode()) for number in range(10))
    parser = Parser(MAX_BYTES)
    assert parser.feed(data + data[:3], 0) == []
    assert parser.has_backlog
    events, calls = [], 0
    while parser.has_backlog:
        events += parser.feed(b"", 4)
        calls += 1
        assert parser.frames <= 4
    assert events == [Message(str(number)) for number in range(10)]
    assert calls == 3
    assert parser.feed(data[3:], 1) == [Message("0")]
    assert parser.has_backlog


def test_every_frame_counts_not_only_messages() -> None:
    parser = Parser(MAX_BYTES)
    parser.feed(client_frame(PING) + client_frame(PONG) + client_frame(TEXT, fin=False) + client_frame(0, fin=False), 9)
    assert parser.frames == 4


# --------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize("size", BOUNDARY_SIZES)
def test_each_length_encoding_is_parsed(size: int) -> None:  # (5.2)
    payload = os.urandom(size)
    assert parse(client_frame(BINARY, payload)) == [Message(payload)]
    head = {0: 6, 1: 6, 125: 6}.get(size, 8 if size <= 65_535 else 14)
    assert len(client_frame(BINARY, payload)) == size + head


@pytest.mark.parametrize(("size", "length_bytes"), [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)])
def test_a_length_must_use_the_fewest_bytes(size: int, length_bytes: int) -> None:  # (5.2)
    assert failure(client_frame(BINARY, bytes(size), length_bytes=length_bytes)) == CloseCode.PROTOCOL_ERROR


def test_a_64_bit_length_with_the_highest_bit_set_is_refused() -> None:  # (5.2)
    assert failure(b"\x82\xff" + b"\xff" * 8) == CloseCode.TOO_BIG


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"])
@pytest.mark.parametrize("size", range(10))
def test_payloads_are_unmasked(size: int, mask: bytes) -> None:  # (5.3)
    payload = bytes(range(size))
    assert parse(client_frame(BINARY, payload, mask=mask)) == [Message(payload)]


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_an_unmasked_frame_is_refused(opcode: int) -> None:  # (5.1)
    assert failure(client_frame(opcode, mask=None)) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("reserved", range(1, 8))
def test_reserved_bits_without_an_extension_are_refused(opcode: int, reserved: int) -> None:  # (5.2)
    assert failure(client_frame(opcode, reserved=reserved)) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [True, False])
def test_unknown_opcodes_are_refused(opcode: int, fin: bool) -> None:  # (5.2)
    assert failure(client_frame(opcode, fin=fin)) == CloseCode.PROTOCOL_ERROR


# ------------------------------------------------------------------------------------------------------- compression


def parse_deflated(data: bytes, max_bytes: int = MAX_BYTES) -> list[Event]:
    parser = Parser(max_bytes, deflates=True)
    events = parser.feed(data)
    while parser.has_backlog:
        events += parser.feed(b"")
    return events


def test_decompression_is_limited_per_call() -> None:
    message = b"x" * MAX_BYTES
    data = client_frame(TEXT, deflate(message), reserved=4) * 20 + client_frame(PING, b"?")
    parser = Parser(MAX_BYTES, deflates=True)
    parts = [parser.feed(data[:-3])]
    while parser.has_backlog:
        parts.append(parser.feed(b""))
    parts.append(parser.feed(data[-3:]))
    assert max(map(len, parts)) * MAX_BYTES <= 256 * 1024 + MAX_BYTES
    assert [event for part in parts for event in part] == [Message(message.decode())] * 20 + [Ping(b"?")]


def test_data_fed_during_a_backlog_is_not_lost() -> None:
    data = client_frame(TEXT, deflate(b"x" * MAX_BYTES), reserved=4) * 7
    parser = Parser(MAX_BYTES, deflates=True)
    events = [*parser.feed(data[:900]), *parser.feed(data[900:])]
    while parser.has_backlog:
        events += parser.feed(b"")
    assert len(events) == 7


def test_compressed_messages_are_parsed_if_negotiated() -> None:  # (RFC 7692, 6.2)
    compressed = deflate(b"one two three")
    parts = (
        client_frame(TEXT, compressed[:4], reserved=4, fin=False),
        client_frame(PING),
        client_frame(0, compressed[4:]),
    )
    plain, binary = client_frame(TEXT, b"plain"), client_frame(BINARY, deflate(b"\xff"), reserved=4)
    messages = [Ping(b""), Message("one two three"), Message("plain"), Message(b"\xff")]
    assert parse_deflated(b"".join((*parts, plain, binary))) == messages


@pytest.mark.parametrize(("opcode", "reserved"), [(PING, 4), (CLOSE, 4), (TEXT, 1), (TEXT, 2), (TEXT, 5), (BINARY, 6)])
def test_other_reserved_bits_are_refused_with_compression_too(opcode: int, reserved: int) -> None:  # (RFC 7692, 6)
    data = client_frame(opcode, deflate(b"a"), reserved=reserved)
    assert parse_deflated(data) == [Failed(CloseCode.PROTOCOL_ERROR, "reserved bits are set")]


def test_only_the_first_fragment_may_have_the_compressed_bit() -> None:  # (RFC 7692, 6.1)
    data = client_frame(TEXT, b"a", fin=False) + client_frame(0, b"b", reserved=4)
    assert parse_deflated(data) == [Failed(CloseCode.PROTOCOL_ERROR, "reserved bits are set")]


def test_an_invalid_compressed_message_is_refused() -> None:
    for payload, code in (
        (b"\xff\xff", CloseCode.INVALID_DATA),
        (deflate(b"\xff"), CloseCode.INVALID_DATA),
        (deflate(bytes(MAX_BYTES + 1)), CloseCode.TOO_BIG),
    ):
        [failed] = parse_deflated(client_frame(TEXT, payload, reserved=4))
        assert isinstance(failed, Failed)
        assert failed.code == code


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_random_bytes_with_compression_never_raise(data: bytes, cuts: list[int]) -> None:
    parser = Parser(100, deflates=True)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        parser.feed(data[begin:end])


@given(st.text(max_size=300) | st.text(alphabet="ab", min_size=200, max_size=300))
def test_another_implementation_reads_compressed_frames(text: str) -> None:
    extension = PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )
    client = OtherProtocol(CLIENT, state=State.OPEN)
    client.extensions = [extension]
    written = deflated_frame(text.encode())
    assert len(written) <= len(text_frame(text.encode()))
    client.receive_data(written)
    [read] = client.events_received()
    assert isinstance(read, Frame)
    assert bytes(read.data).decode() == text


# ----------------------------------------------------------------------------------------------------- fragmentation


def test_fragments_become_one_message() -> None:  # (5.4)
    parts = client_frame(TEXT, b"one ", fin=False), client_frame(0, b"two ", fin=False), client_frame(0, b"three")
    assert parse(b"".join(parts)) == [Message("one two three")]


def test_empty_fragments_are_accepted() -> None:  # (5.4)
    parts = client_frame(BINARY, fin=False), client_frame(0, fin=False), client_frame(0, b"x", fin=False)
    assert parse(b"".join((*parts, client_frame(0)))) == [Message(b"x")]


def test_control_frames_may_come_between_fragments() -> None:  # (5.4)
    data = client_frame(TEXT, b"a", fin=False) + client_frame(PING, b"?") + client_frame(PONG, b"!")
    assert parse(data + client_frame(0, b"b")) == [Ping(b"?"), Message("ab")]


def test_a_close_between_fragments_ends_the_stream() -> None:
    data = client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE, close_payload(1000))
    assert parse(data + client_frame(0, b"b")) == [Closing(1000)]


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_without_a_message_is_refused(fin: bool) -> None:  # (5.4)
    assert failure(client_frame(0, b"x", fin=fin)) == CloseCode.PROTOCOL_ERROR
    whole = client_frame(TEXT, b"whole")
    assert parse(whole + client_frame(0, b"x"))[0] == Message("whole")
    assert failure(whole + client_frame(0, b"x")) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_interleaved_messages_are_refused(opcode: int, fin: bool) -> None:  # (5.4)
    data = client_frame(TEXT, b"a", fin=False) + client_frame(opcode, b"b", fin=fin)
    assert failure(data) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_long_or_fragmented_control_frames_are_refused(opcode: int) -> None:  # (5.5)
    assert failure(client_frame(opcode, fin=False)) == CloseCode.PROTOCOL_ERROR
    assert failure(client_frame(opcode, bytes(126))) == CloseCode.PROTOCOL_ERROR
    assert failure(client_frame(opcode, length_bytes=8)) == CloseCode.PROTOCOL_ERROR


def test_a_ping_is_an_event_and_a_pong_is_not() -> None:  # (5.5.2, 5.5.3)
    payload = os.urandom(125)
    assert parse(client_frame(PING, payload) + client_frame(PONG, payload)) == [Ping(payload)]
    assert frame(Opcode.PONG, payload)[:2] == bytes((0x8A, 125))


# -------------------------------------------------------------------------------------------------------------- text

INVALID_UTF8 = [
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x80",
    b"a\xc3",
    b"\xf0\x9f\x98",
]


@pytest.mark.parametrize("payload", INVALID_UTF8)
def test_text_must_be_utf8(payload: bytes) -> None:  # (5.6, 8.1)
    assert failure(client_frame(TEXT, payload)) == CloseCode.INVALID_DATA
    cut = len(payload) // 2
    split = client_frame(TEXT, payload[:cut], fin=False) + client_frame(0, payload[cut:])
    assert failure(split) == CloseCode.INVALID_DATA
    assert parse(client_frame(BINARY, payload)) == [Message(payload)]


@given(st.text(min_size=1, max_size=30), st.lists(st.integers(0, 200), max_size=6))
@example("가\N{PILE OF POO}é\0", [1, 2, 4, 5, 6])
def test_a_character_may_span_fragments(text: str, cuts: list[int]) -> None:  # (5.6)
    payload = text.encode()
    places = [0, *sorted(cut % (len(payload) + 1) for cut in cuts), len(payload)]
    parts = [payload[begin:end] for begin, end in pairwise(places)]
    frames = [client_frame(TEXT if at == 0 else 0, part, fin=at == len(parts) - 1) for at, part in enumerate(parts)]
    assert parse(b"".join(frames)) == [Message(text)]


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("limit", [0, 1, 125, 126, 65_535, 65_536])
def test_a_message_over_the_limit_is_refused(limit: int) -> None:
    assert parse(client_frame(BINARY, bytes(limit)), limit) == [Message(bytes(limit))]
    assert failure(client_frame(BINARY, bytes(limit + 1)), limit) == CloseCode.TOO_BIG


def test_an_oversized_message_is_refused_by_its_header_alone() -> None:
    assert failure(b"\x82\xfe\xff\xff", 1_000) == CloseCode.TOO_BIG
    assert failure(b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1_000) == CloseCode.TOO_BIG


def test_the_limit_applies_to_the_sum_of_fragments() -> None:
    begun = client_frame(BINARY, bytes(60), fin=False)
    assert parse(begun + client_frame(0, bytes(40)), 100) == [Message(bytes(100))]
    assert failure(begun + client_frame(0, bytes(41)), 100) == CloseCode.TOO_BIG
    assert failure(begun + client_frame(0, bytes(41))[:2], 100) == CloseCode.TOO_BIG
    # The count restarts with the next message.
    assert parse((begun + client_frame(0, bytes(40))) * 3, 100) == [Message(bytes(100))] * 3


def test_control_frames_do_not_count_towards_the_limit() -> None:
    data = client_frame(BINARY, bytes(100), fin=False) + client_frame(PING, bytes(125)) + client_frame(0)
    assert parse(data, 100) == [Ping(bytes(125)), Message(bytes(100))]


def test_any_number_of_empty_fragments_takes_no_memory() -> None:
    parser = Parser(100)
    parser.feed(client_frame(BINARY, b"x", fin=False))
    for _ in range(1_000):
        parser.feed(client_frame(0, fin=False))
    assert len(parser._fragments or b"") == 1
    assert parser.feed(client_frame(0)) == [Message(b"x")]


# ------------------------------------------------------------------------------------------------------------- close


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4008, 4999])
@pytest.mark.parametrize("reason", [b"", "왜".encode(), bytes(123)])
def test_a_close_frame_has_a_code_and_maybe_a_reason(code: int, reason: bytes) -> None:  # (5.5.1, 7.4)
    data = client_frame(CLOSE, close_payload(code, reason))
    assert parse(data + client_frame(TEXT, b"ignored")) == [Closing(code)]


def test_a_close_frame_may_be_empty() -> None:  # (7.1.5)
    assert parse(client_frame(CLOSE)) == [Closing(CloseCode.NO_STATUS)]
    assert close_frame(CloseCode.NO_STATUS) == b"\x88\x00"


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535])
def test_close_codes_that_must_not_be_sent_are_refused(code: int) -> None:  # (7.4.1, 7.4.2)
    assert failure(client_frame(CLOSE, close_payload(code))) == CloseCode.PROTOCOL_ERROR


def test_a_truncated_close_code_is_refused() -> None:  # (5.5.1)
    assert failure(client_frame(CLOSE, b"\x03")) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("reason", INVALID_UTF8)
def test_a_close_reason_must_be_utf8(reason: bytes) -> None:  # (5.5.1)
    assert failure(client_frame(CLOSE, close_payload(1000, reason))) == CloseCode.INVALID_DATA


def test_everything_after_the_end_is_ignored() -> None:
    for end in (client_frame(CLOSE), client_frame(TEXT, b"\xff")):
        parser = Parser(MAX_BYTES)
        assert len(parser.feed(end + client_frame(TEXT, b"a") * 3)) == 1
        assert parser.feed(client_frame(TEXT, b"b")) == []
        assert parser._buffer == b""


# ---------------------------------------------------------------------------------------------------------- sequences

payloads = st.one_of(
    st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.sampled_from([125, 126, 127]).map(os.urandom)
)


@st.composite
def valid_frames(draw: st.DrawFn) -> list[bytes]:
    """Fragmented messages with control frames in between, and maybe a close."""
    frames: list[bytes] = []

    def control() -> None:
        if draw(st.booleans()):
            frames.append(client_frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=10))))

    for _ in range(draw(st.integers(0, 4))):
        text = draw(st.booleans())
        payload = draw(st.text(max_size=30)).encode() if text else draw(payloads)
        places = [0, *sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3))), len(payload)]
        parts = [payload[begin:end] for begin, end in pairwise(places)]
        for at, part in enumerate(parts):
            control()
            opcode = CONTINUATION if at else TEXT if text else BINARY
            mask = draw(st.binary(min_size=4, max_size=4))
            frames.append(client_frame(opcode, part, fin=at == len(parts) - 1, mask=mask))
    if draw(st.booleans()):
        frames.append(client_frame(CLOSE, draw(st.sampled_from([b"", close_payload(1000, b"bye")]))))
    return frames


any_frame = st.builds(
    client_frame,
    st.integers(0, 15),
    payloads,
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 4]),
    mask=st.sampled_from([b"abcd"] * 9 + [None]),
)
any_close = st.builds(
    client_frame, st.just(CLOSE), st.builds(close_payload, st.integers(990, 5_010), st.binary(max_size=5))
)
"""Mostly invalid."""
whole_frames = st.one_of(
    valid_frames().map(b"".join),
    st.lists(st.one_of(any_frame, any_frame, any_close), max_size=6).map(b"".join),
)
streams = st.one_of(
    whole_frames,
    st.tuples(valid_frames().map(b"".join), st.binary(max_size=30)).map(b"".join),
)


@given(streams, st.lists(st.integers(0, 400), max_size=12))
def test_the_events_do_not_depend_on_how_the_bytes_are_split(data: bytes, cuts: list[int]) -> None:
    whole = parse(data, 200)
    assert parse_split(data, cuts, 200) == whole
    assert parse_split(data, list(range(len(data))), 200) == whole


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_random_bytes_never_raise(data: bytes, cuts: list[int]) -> None:
    events = parse_split(data, cuts, 100)
    assert all(not isinstance(event, Failed | Closing) for event in events[:-1])


def other_events(data: bytes) -> list[Event]:
    """Return the events of the `websockets` package for the same bytes."""
    other = OtherProtocol(SERVER, state=State.OPEN, max_size=MAX_BYTES)
    other.receive_data(data)
    events: list[Event] = []
    begun: list[Frame] = []
    for received in other.events_received():
        assert isinstance(received, Frame)
        if received.opcode == PING:
            events.append(Ping(bytes(received.data)))
        elif received.opcode == CLOSE:
            code = int.from_bytes(received.data[:2], "big") if received.data else CloseCode.NO_STATUS
            events.append(Closing(code))
        elif received.opcode != PONG:
            begun.append(received)
            if received.fin:
                payload = b"".join(bytes(part.data) for part in begun)
                if begun[0].opcode == TEXT:
                    # In the package, a higher layer checks UTF-8, with this result.
                    try:
                        events.append(Message(payload.decode()))
                    except UnicodeDecodeError:
                        return [*events, Failed(CloseCode.INVALID_DATA, "")]
                else:
                    events.append(Message(payload))
                begun = []
    if other.parser_exc is not None and not isinstance(other.parser_exc, EOFError):
        sent, received_close = other.close_sent, other.close_rcvd
        assert sent is not None
        if received_close is not None and str(other.parser_exc) == "incomplete fragmented message":
            # The package refuses a close between fragments, but control frames are allowed there (5.4).
            events.append(Closing(received_close.code))
        else:
            events.append(Failed(CloseCode(sent.code), ""))
    return events


@settings(max_examples=200)
@given(whole_frames)
def test_another_implementation_parses_the_same_events(data: bytes) -> None:
    ours, theirs = parse(data), other_events(data)
    if ours and isinstance(ours[-1], Failed):
        # A frame may break two rules, and either code is correct.
        assert isinstance(theirs[-1], Failed)
        ours, theirs = ours[:-1], theirs[:-1]
    assert ours == theirs


@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=300)), max_size=5))
@example(["", b"", "x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536])
def test_another_implementation_reads_our_frames(messages: list[str | bytes]) -> None:
    other = OtherProtocol(CLIENT, state=State.OPEN)
    for message in messages:
        other.receive_data(text_frame(message.encode()) if isinstance(message, str) else frame(Opcode.BINARY, message))
    other.receive_data(frame(Opcode.PING, b"?") + close_frame(4008, "왜"))
    *read, ping, _close = other.events_received()
    assert [
        bytes(each.data).decode() if each.opcode == TEXT else bytes(each.data)
        for each in read
        if isinstance(each, Frame)
    ] == messages
    assert isinstance(ping, Frame)
    assert (ping.opcode, bytes(ping.data)) == (PING, b"?")
    assert other.close_rcvd is not None
    assert (other.close_rcvd.code, other.close_rcvd.reason) == (4008, "왜")


# --------------------------------------------------------------------------------------------------------- handshake


def test_the_accept_key_of_the_rfc() -> None:  # (1.3)
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(min_size=16, max_size=16))
def test_another_implementation_computes_the_same_accept_key(nonce: bytes) -> None:
    key = base64.b64encode(nonce)
    assert (accept_key(key) or b"").decode() == other_accept_key(key.decode())


@given(st.one_of(st.binary(max_size=30), st.binary(max_size=30).map(base64.b64encode)))
def test_a_key_must_be_16_bytes(key: bytes) -> None:  # (4.2.1)
    try:
        right = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        right = False
    assert (accept_key(key) is not None) == right
