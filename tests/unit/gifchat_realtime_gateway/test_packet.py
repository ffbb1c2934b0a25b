"""Socket.IO packets: the document's examples decode, encoded packets decode, anything else is refused."""

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gifchat_realtime_gateway.socketio.overrides import Packet
from gifchat_realtime_gateway.socketio.packet import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAX_ATTACHMENTS,
)

ONE = {"_placeholder": True, "num": 0}
EXAMPLES: list[tuple[str, int, str | None, int | None, Any, int]] = [
    ("0", CONNECT, None, None, None, 0),
    ('0/admin,{"token":"123"}', CONNECT, "/admin", None, {"token": "123"}, 0),
    ("0/admin", CONNECT, "/admin", None, None, 0),
    ('2["foo"]', EVENT, None, None, ["foo"], 0),
    ('2/admin,["bar"]', EVENT, "/admin", None, ["bar"], 0),
    ('212["foo"]', EVENT, None, 12, ["foo"], 0),
    ('2/admin,13["a,b"]', EVENT, "/admin", 13, ["a,b"], 0),
    ('51-["baz",{"_placeholder":true,"num":0}]', BINARY_EVENT, None, None, ["baz", ONE], 1),
    ('51-/admin,14["baz",{"_placeholder":true,"num":0}]', BINARY_EVENT, "/admin", 14, ["baz", ONE], 1),
    ('3/admin,13["bar"]', ACK, "/admin", 13, ["bar"], 0),
    ('61-15["bar",{"_placeholder":true,"num":0}]', BINARY_ACK, None, 15, ["bar", ONE], 1),
    ("1", DISCONNECT, None, None, None, 0),
    ("1/admin,", DISCONNECT, "/admin", None, None, 0),
]


def read(text: str | bytes) -> Packet:
    return Packet(encoded_packet=text)


@pytest.mark.parametrize(("text", "kind", "namespace", "number", "data", "attachments"), EXAMPLES)
def test_the_examples_of_the_protocol_document(
    text: str, kind: int, namespace: str | None, number: int | None, data: Any, attachments: int
) -> None:
    packet = read(text)
    assert (packet.packet_type, packet.namespace, packet.id, packet.data) == (kind, namespace, number, data)
    assert packet.attachment_count == attachments


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=MAX_ATTACHMENTS,
)


@given(
    st.lists(json_values, max_size=3),
    st.sampled_from([None, "/", "/admin", "/a b"]),
    st.none() | st.integers(0, 10**15 - 1),
)
def test_an_encoded_event_decodes_to_itself(arguments: list[Any], namespace: str | None, number: int | None) -> None:
    written = Packet(EVENT, ["name", *arguments], namespace=namespace, id=number)
    encoded = written.encode()
    text, *attachments = encoded if isinstance(encoded, list) else [encoded]
    assume(len(attachments) <= MAX_ATTACHMENTS)
    packet = read(text)
    for attachment in attachments:
        assert isinstance(attachment, bytes)
        packet.add_attachment(attachment)
    assert (packet.namespace or "/", packet.id, packet.data) == (namespace or "/", number, ["name", *arguments])


@pytest.mark.parametrize("kind", [EVENT, ACK, CONNECT_ERROR])
@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_is_sent_as_null(kind: int, number: float) -> None:
    """`JSON.stringify` does the same."""
    data = ["name", number, [1.5, (number,)], {"deep": {"deeper": [number]}, number: "key"}]
    text = Packet(kind, data, id=1).encode()
    assert isinstance(text, str)
    name = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(number, "NaN")
    sent = json.loads(text[2:], parse_constant=no_constant)
    assert sent == ["name", None, [1.5, [None]], {"deep": {"deeper": [None]}, name: "key"}]


def test_a_number_that_is_not_finite_beside_an_attachment_is_sent_as_null() -> None:
    encoded = Packet(EVENT, ["name", math.inf, b"bytes"]).encode()
    assert encoded == ['51-["name",null,{"_placeholder":true,"num":0}]', b"bytes"]


def test_a_number_beyond_the_range_of_floats_is_echoed_as_null() -> None:
    data = read('2["name",1e999,-1e999,1e308]').data
    assert data == ["name", math.inf, -math.inf, 1e308]
    assert Packet(EVENT, data).encode() == '2["name",null,null,1e+308]'


@given(st.lists(st.recursive(st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))))
def test_an_encoded_packet_is_valid_json(data: list[Any]) -> None:
    text = Packet(EVENT, ["name", *data]).encode()
    assert isinstance(text, str)
    json.loads(text[1:], parse_constant=no_constant)


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


tokens = st.sampled_from(
    ["0", "1", "2", "3", "4", "5", "6", "7", "-", "/", ",", "/a,", "12", "[", "]", "{", "}", '"x"', "null", "NaN", " "]
)


@given(st.one_of(st.text(), st.binary(min_size=1), st.lists(tokens, max_size=8).map("".join)))
def test_any_text_is_a_packet_or_refused(text: str | bytes) -> None:
    try:
        packet = read(text)
    except ValueError:
        return
    assert isinstance(text, str)
    assert packet.packet_type in (CONNECT, DISCONNECT, EVENT, ACK, BINARY_EVENT, BINARY_ACK)
    assert 0 <= packet.attachment_count <= MAX_ATTACHMENTS


@given(json_values, st.lists(st.binary(max_size=3), max_size=3))
def test_placeholders_are_filled_or_refused(data: Any, attachments: list[bytes]) -> None:
    for number in (-1, 0, 1, 2, 3, True, None, "0", 1.0):
        found: Any = None
        try:
            found = Packet.reconstruct_binary([data, {"_placeholder": True, "num": number}], attachments)
        except ValueError:
            assert type(number) is not int or not 0 <= number < len(attachments)
        else:
            assert found == [data, attachments[number]]  # type: ignore[index]
