from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_contracts import limits
from gifchat_contracts.ids import Epoch, GifId, RoomId
from gifchat_contracts.position import Position
from gifchat_contracts.socket_events import (
    BadClientEventError,
    Join,
    SendGif,
    SendText,
    parse_chat,
    parse_join,
    parse_room,
)

ROOM = RoomId("65f0c0ffee0123456789abcd")
GIF = GifId("ab" * 32)
POSITION = Position(Epoch("0123456789abcdef"), 12)
PARSERS: list[Callable[[object], object]] = [parse_join, parse_room, parse_chat]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(str(ROOM)),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["room", "ticket", "position", "client_message_id", "text", "gif"]) | st.text(), inner
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("parse", PARSERS)
@given(data=anything)
def test_client_data_raises_only_bad_client_event(parse: Callable[[object], object], data: Any) -> None:
    with suppress(BadClientEventError):
        parse(data)


def test_join_takes_a_bare_id_or_an_object() -> None:
    assert parse_join(ROOM) == Join(ROOM)
    assert parse_join({"room": ROOM}) == Join(ROOM)
    assert parse_join({"room": ROOM, "ticket": None, "position": None}) == Join(ROOM)
    assert parse_join({"room": ROOM, "ticket": "t", "position": POSITION.as_json(), "more": 1}) == Join(
        ROOM, "t", POSITION
    )


@pytest.mark.parametrize(
    "data",
    [
        None,
        "",
        "x",
        ROOM.upper(),
        [ROOM],
        {"room": None},
        {"room": ROOM, "ticket": ""},
        {"room": ROOM, "ticket": "x" * 1_025},
        {"room": ROOM, "ticket": 1},
        {"room": ROOM, "ticket": "half of a pair: \ud800"},
        {"room": ROOM, "position": {"epoch": "x", "seq": 1}},
        {"room": ROOM, "position": 5},
    ],
)
def test_join_refuses_invalid_data(data: object) -> None:
    with pytest.raises(BadClientEventError):
        parse_join(data)


@pytest.mark.parametrize("data", [ROOM, {"room": ROOM}])
def test_leave_and_typing_take_an_id_or_an_object(data: object) -> None:
    assert parse_room(data) == ROOM


def test_chat_takes_a_text_or_a_gif() -> None:
    assert parse_chat({"room": ROOM, "client_message_id": "k", "text": "hi"}) == SendText(ROOM, "k", "hi")
    assert parse_chat({"room": ROOM, "client_message_id": "k", "gif": GIF}) == SendGif(ROOM, "k", GIF)
    longest = "👩‍👩‍👧" * limits.TEXT_MAX_CHARS
    assert parse_chat({"room": ROOM, "client_message_id": "k", "text": longest}) == SendText(ROOM, "k", longest)


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": "half of a pair: \ud800"},
        {"client_message_id": ""},
        {"client_message_id": "x" * 65},
        {"client_message_id": None},
        {"room": "x"},
        {"gif": GIF},
    ],
)
def test_chat_refuses_invalid_fields(change: dict[str, object]) -> None:
    with pytest.raises(BadClientEventError):
        parse_chat({"room": ROOM, "client_message_id": "k", "text": "hi"} | change)


def test_chat_refuses_an_invalid_gif_id() -> None:
    with pytest.raises(BadClientEventError):
        parse_chat({"room": ROOM, "client_message_id": "k", "gif": "cat.gif"})
