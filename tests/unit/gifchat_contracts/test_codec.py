import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts.codec import BadFrameError, Frame, Kind, decode, encode
from gifchat_contracts.ids import Epoch, UserId

hex_digits = st.sampled_from("0123456789abcdef")
epochs = st.text(hex_digits, min_size=16, max_size=16).filter(lambda text: set(text) != {"0"}).map(Epoch)
users = st.text(hex_digits, min_size=24, max_size=24).map(UserId)
seqs = st.integers(1, 2**53 - 1)
positioned = st.builds(
    Frame, st.sampled_from([kind for kind in Kind if kind.positioned]), st.binary(), epochs, seqs, st.none() | users
)
ephemeral = st.builds(
    Frame,
    st.sampled_from([kind for kind in Kind if not kind.positioned]),
    st.binary(),
    st.none() | epochs,
    st.just(0),
    st.none() | users,
)


@given(positioned | ephemeral)
def test_a_decoded_frame_equals_the_encoded_one(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@given(st.binary(max_size=64))
def test_any_bytes_decode_to_a_frame_or_raise_bad_frame(data: bytes) -> None:
    try:
        frame = decode(data)
    except BadFrameError:
        return
    assert encode(frame) == data


CHAT = encode(Frame(Kind.CHAT, b'["chat",{}]', Epoch("0123456789abcdef"), 7, UserId("ab" * 12)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "shorter than a header"),
        (CHAT[:18], "shorter than a header"),
        (bytes([2]) + CHAT[1:], "version 2"),
        (CHAT[:1] + bytes([200]) + CHAT[2:], "kind 200"),
        (CHAT[:2] + bytes(8) + CHAT[10:], "without a position"),
        (CHAT[:10] + bytes(8) + CHAT[18:], "without a position"),
        (CHAT[:20], "shorter than its subject"),
        (CHAT[:19] + b"\xff" * 24, "not ASCII"),
    ],
)
def test_damaged_frames_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadFrameError, match=reason):
        decode(data)


def test_the_layout_is_the_documented_one() -> None:
    assert CHAT[:19] == bytes([1, 1]) + bytes.fromhex("0123456789abcdef") + (7).to_bytes(8, "big") + bytes([24])
    assert CHAT[19:43] == b"ab" * 12
    assert CHAT[43:] == b'["chat",{}]'


def test_durable_kinds_are_the_kinds_in_the_log() -> None:
    assert {kind for kind in Kind if kind.durable} == {Kind.CHAT, Kind.CHAT_DELETED, Kind.NOTICE}
