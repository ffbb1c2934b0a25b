"""permessage-deflate against RFC 7692 and another implementation. Numbers in parentheses are sections of the RFC."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.frames import Opcode as OtherOpcode

from gifchat_realtime_gateway.engine.deflate import InvalidDeflateError, TooLargeError, deflate, inflate, negotiate

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
LIMIT = 65_536


def other() -> PerMessageDeflate:
    return PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )


# ------------------------------------------------------------------------------------------------------- negotiation


@pytest.mark.parametrize(
    "offers",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10",
        'permessage-deflate; client_max_window_bits="8"',
        "permessage-deflate;server_no_context_takeover ; client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "permessage-deflate; unknown, permessage-deflate; client_max_window_bits",
    ],
)
def test_an_acceptable_offer_is_accepted(offers: str) -> None:  # (5.1, 7.1)
    assert negotiate(offers) == AGREED


def test_the_servers_window_is_repeated_in_the_answer() -> None:  # (7.1.2.1)
    assert negotiate("permessage-deflate; server_max_window_bits=15") == f"{AGREED}; server_max_window_bits=15"


@pytest.mark.parametrize(
    "offers",
    [
        "",
        "permessage-bzip2",
        "permessage-deflate; server_max_window_bits=14",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=010",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; =",
        "permessage-deflate;",
        'permessage-deflate; client_max_window_bits="10',
        'x; a="1, permessage-deflate, 2"',
        "Permessage-Deflate x",
    ],
)
def test_an_unacceptable_offer_is_declined(offers: str) -> None:  # (7.1)
    assert negotiate(offers) is None


SAFARI = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
CHROME_ON_IOS = "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"


@pytest.mark.parametrize(
    ("user_agent", "agreed"),
    [(SAFARI, False), (CHROME_ON_IOS, False), (CHROME, True), (FIREFOX, True), ("", True), ("okhttp/4.12", True)],
)
def test_webkits_offers_are_declined(user_agent: str, agreed: bool) -> None:
    assert negotiate("permessage-deflate", user_agent) == (AGREED if agreed else None)


@given(
    st.lists(st.sampled_from([*'permessage-deflate;,= "15', "permessage-deflate", "server_max_window_bits"])).map(
        "".join
    )
)
def test_negotiating_any_offer_never_raises(offers: str) -> None:
    answer = negotiate(offers)
    assert answer is None or answer.startswith(AGREED)


# ---------------------------------------------------------------------------------------------------------- messages


@given(st.binary(max_size=2_000) | st.text(alphabet="ab{}:,", max_size=2_000).map(str.encode))
def test_we_and_another_implementation_read_our_compressed_messages(payload: bytes) -> None:  # (7.2)
    compressed = deflate(payload)
    assert inflate(compressed, LIMIT) == payload
    read = other().decode(Frame(OtherOpcode.TEXT, compressed, rsv1=True))
    assert bytes(read.data) == payload


@given(st.binary(max_size=2_000) | st.text(alphabet="ab{}:,", max_size=2_000).map(str.encode))
def test_we_read_messages_that_another_implementation_compressed(payload: bytes) -> None:
    written = other().encode(Frame(OtherOpcode.TEXT, payload))
    assert inflate(bytes(written.data), LIMIT) == payload


def test_the_examples_of_the_rfc() -> None:  # (7.2.3)
    hello = b"Hello"
    assert inflate(bytes.fromhex("f248cdc9c90700"), LIMIT) == hello
    assert inflate(bytes.fromhex("000500faff48656c6c6f00"), LIMIT) == hello, "not compressed"
    assert inflate(bytes.fromhex("f348cdc9c9070000"), LIMIT) == hello, "the last block is final"
    assert inflate(bytes.fromhex("f248050000 00ffffcac9c90700"), LIMIT) == hello, "two blocks"
    assert inflate(b"\x00", LIMIT) == b"", "an empty message"


def test_decompression_stops_at_the_limit() -> None:
    bomb = deflate(bytes(50_000_000))
    assert len(bomb) < LIMIT
    with pytest.raises(TooLargeError):
        inflate(bomb, LIMIT)
    assert inflate(deflate(bytes(LIMIT)), LIMIT) == bytes(LIMIT)
    with pytest.raises(TooLargeError):
        inflate(deflate(bytes(LIMIT + 1)), LIMIT)


def test_data_after_the_end_of_the_stream_is_refused() -> None:
    ended = zlib.compressobj(wbits=-15)
    whole = ended.compress(b"a") + ended.flush()
    assert inflate(whole, LIMIT) == b"a"
    with pytest.raises(InvalidDeflateError):
        inflate(whole + whole, LIMIT)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read_like_another_implementation(data: bytes) -> None:
    try:
        ours: bytes | None = inflate(data, 1_000)
    except (InvalidDeflateError, TooLargeError):
        ours = None
    try:
        theirs: bytes | None = bytes(other().decode(Frame(OtherOpcode.TEXT, data, rsv1=True), max_size=1_000).data)
    except (ProtocolError, PayloadTooBig):
        theirs = None
    assert ours is None or ours == theirs
