"""Engine.IO packets, payloads and the packets allowed in each state, as in the published protocol."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_realtime_gateway.engine.protocol import (
    SEPARATOR,
    Action,
    InvalidPacketError,
    Packet,
    PacketType,
    Source,
    action_of,
    binary_message,
    encode_payload,
    open_packet,
    parse_packet,
    split_payload,
)


def parse_payload(body: str) -> list[Packet]:
    return [parse_packet(part) for part in split_payload(body)]


@pytest.mark.parametrize(
    ("number", "name"), list(enumerate(["OPEN", "CLOSE", "PING", "PONG", "MESSAGE", "UPGRADE", "NOOP"]))
)
def test_the_first_digit_is_the_packet_type(number: int, name: str) -> None:
    assert parse_packet(f"{number}data") == Packet(PacketType[name], "data")
    assert parse_packet(str(number)) == Packet(PacketType[name], "")


@pytest.mark.parametrize("text", ["", "7", "9", "abc", "b?", "-1", " 4", "\u0664", "\u00b2", "\0", "\x1e"])
def test_an_invalid_packet_is_refused(text: str) -> None:
    with pytest.raises(InvalidPacketError):
        parse_packet(text)


def test_the_payloads_of_the_protocol_document() -> None:
    several = [Packet(PacketType.MESSAGE, "hello"), Packet(PacketType.PING), Packet(PacketType.MESSAGE, "world")]
    assert parse_payload("4hello\x1e2\x1e4world") == several
    binary = [Packet(PacketType.MESSAGE, "hello"), Packet(PacketType.MESSAGE, b"\x01\x02\x03\x04")]
    assert parse_payload("4hello\x1ebAQIDBA==") == binary
    assert encode_payload(["4hello", "2", "4world"]) == "4hello\x1e2\x1e4world"
    assert encode_payload(["4hello", b"\x01\x02\x03\x04"]) == "4hello\x1ebAQIDBA=="


@pytest.mark.parametrize("text", ["b/+8BAg==", "b_-8BAg==", "b/+8BAg", "b_-8BAg", "b_-8BAg=", "b/+8\r\nBAg==\r\n"])
def test_base64_is_decoded_in_either_alphabet_with_or_without_padding(text: str) -> None:
    assert parse_packet(text) == binary_message(b"\xff\xef\x01\x02")


@pytest.mark.parametrize(
    "body", ["", "\x1e", "4a\x1e", "\x1e4a", "4a\x1e\x1e4b", "4a\x1e7", "b?", "bA", "b\u00e9", "bAQ=A"]
)
def test_a_payload_with_an_invalid_packet_is_refused(body: str) -> None:
    with pytest.raises(InvalidPacketError):
        parse_payload(body)


messages = st.text(alphabet=st.characters(exclude_characters=SEPARATOR, exclude_categories=["Cs"])).map("4{}".format)


@given(st.lists(st.one_of(messages, st.binary()), min_size=1))
def test_an_encoded_payload_parses_to_the_same_packets(packets: list[str | bytes]) -> None:
    read = parse_payload(encode_payload(packets))
    assert read == [binary_message(each) if isinstance(each, bytes) else parse_packet(each) for each in packets]


@given(st.text())
def test_any_text_is_parsed_or_refused(body: str) -> None:
    try:
        packets = parse_payload(body)
    except InvalidPacketError:
        return
    assert len(packets) == body.count(SEPARATOR) + 1


ALLOWED = {
    (Source.POST, PacketType.MESSAGE): Action.MESSAGE,
    (Source.POST, PacketType.PONG): Action.PONG,
    (Source.POST, PacketType.CLOSE): Action.CLOSE,
    (Source.POST, PacketType.OPEN): Action.IGNORE,
    (Source.POST, PacketType.UPGRADE): Action.IGNORE,
    (Source.POST, PacketType.NOOP): Action.IGNORE,
    (Source.WEBSOCKET, PacketType.MESSAGE): Action.MESSAGE,
    (Source.WEBSOCKET, PacketType.PONG): Action.PONG,
    (Source.WEBSOCKET, PacketType.CLOSE): Action.CLOSE,
    (Source.WEBSOCKET, PacketType.OPEN): Action.IGNORE,
    (Source.WEBSOCKET, PacketType.UPGRADE): Action.IGNORE,
    (Source.WEBSOCKET, PacketType.NOOP): Action.IGNORE,
    (Source.PROBING, PacketType.PING): Action.ANSWER_PROBE,
    (Source.PROBING, PacketType.UPGRADE): Action.UPGRADE,
}
"""What the protocol document allows clients to send, and what the published server ignores."""


@pytest.mark.parametrize(("source", "type_"), list(product(Source, PacketType)))
def test_only_these_packets_are_allowed_from_each_source(source: Source, type_: PacketType) -> None:
    packet = Packet(type_, "probe" if type_ is PacketType.PING else "")
    expected = ALLOWED.get((source, type_))
    if expected is None:
        with pytest.raises(InvalidPacketError):
            action_of(source, packet)
    else:
        assert action_of(source, packet) is expected


@pytest.mark.parametrize("data", ["", "Probe", "probe ", b"probe"])
def test_a_ping_without_the_word_probe_is_no_probe(data: str | bytes) -> None:
    with pytest.raises(InvalidPacketError):
        action_of(Source.PROBING, Packet(PacketType.PING, data))


@pytest.mark.parametrize(("interval_s", "timeout_s"), [(25.0, 20.0), (0.3, 0.2), (25.0004, 0.0006)])
def test_the_open_packet_has_times_in_milliseconds(interval_s: float, timeout_s: float) -> None:
    packet = open_packet("lv_VI97HAXpY6yYWAAAC", ["websocket"], interval_s, timeout_s, 1_000_000)
    assert packet[0] == "0"
    data = json.loads(packet[1:])
    assert data == {
        "sid": "lv_VI97HAXpY6yYWAAAC",
        "upgrades": ["websocket"],
        "pingInterval": round(interval_s * 1000),
        "pingTimeout": round(timeout_s * 1000),
        "maxPayload": 1_000_000,
    }
    assert isinstance(data["pingInterval"], int)
