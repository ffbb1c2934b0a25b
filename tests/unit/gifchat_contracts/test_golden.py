"""Python's payloads match contracts/golden, which the tests of the pages' JavaScript use too."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from gifchat_contracts import errors, events, socket_events
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, GifId, RoomId
from gifchat_rooms_api.domain.message import (
    Deletion,
    Draft,
    Fact,
    Gif,
    LogEntry,
    Message,
    Redacted,
    SlowModeChange,
    Text,
    frame_of,
    payload_of,
)

GOLDEN = Path(__file__).parents[3] / "contracts" / "golden"
ROOM = RoomId("65f0c0ffee0123456789abcd")
EPOCH = Epoch("0123456789abcdef")
AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
ME = Identity.of_session("session-1")
GIF = GifId("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")

SHAPES: dict[str, Any] = {
    "chat": events.ChatPayload,
    "chatDeleted": events.ChatDeletedPayload,
    "notice": events.NoticePayload,
    "newRoom": events.RoomPayload,
    "roomChanged": events.RoomPayload,
    "removeRoom": str,
    "join": events.JoinExitPayload,
    "exit": events.JoinExitPayload,
    "typing": events.TypingPayload,
    "presence": events.PresencePayload,
    "sanction": events.SanctionPayload,
    "occupancy": dict[str, int],
}
EVENT_FILES = sorted(path for path in GOLDEN.glob("*.json") if path.name != "errors.json")


def _golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def _fits(value: object, shape: Any) -> bool:
    """Whether `value` has the type that a payload's `TypedDict` gives it."""
    if hasattr(shape, "__supertype__"):
        return _fits(value, shape.__supertype__)
    if is_typeddict(shape):
        hints = get_type_hints(shape, include_extras=True)
        required = {name for name, hint in hints.items() if get_origin(hint) is not NotRequired}
        return (
            isinstance(value, dict)
            and required <= value.keys() <= hints.keys()
            and all(_fits(item, hints[name]) for name, item in value.items())
        )
    arguments = get_args(shape)
    match get_origin(shape):
        case None:
            return value is None if shape in (None, NoneType) else type(value) is shape
        case origin if origin is NotRequired:
            return _fits(value, arguments[0])
        case origin if origin is Literal:
            return value in arguments
        case origin if origin is dict:
            return isinstance(value, dict) and all(
                _fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()
            )
        case _:
            return any(_fits(value, argument) for argument in arguments)


def _entry(seq: int, fact: Fact) -> LogEntry:
    entry_id = f"65f0c0ffee{seq:014x}"
    return LogEntry(seq, AT, Draft(entry_id, ME.user_id, f"0b8f6a4e-0000-4000-8000-{seq:012d}", fact))


@pytest.mark.parametrize("path", EVENT_FILES, ids=lambda path: path.stem)
def test_every_example_has_the_shape_of_its_payload(path: Path) -> None:
    example = _golden(path.stem)
    assert example.keys() == {"event", "data"}
    assert _fits(example["data"], SHAPES[example["event"]]), path.name


def test_every_event_with_a_payload_has_an_example() -> None:
    assert {_golden(path.stem)["event"] for path in EVENT_FILES} == SHAPES.keys()


@pytest.mark.parametrize(
    ("name", "seq", "fact"),
    [
        ("chat_text", 1, Message(ME.color, Text("안녕하세요 <b>hi</b> 🎉\nsecond line"))),
        ("chat_gif", 2, Message(ME.color, Gif(GIF, f"{GIF}.gif", 320, 240, 12))),
        ("chat_deleted_message", 3, Message(ME.color, Redacted())),
        ("chat_deleted", 4, Deletion(3, "65f0c0ffee00000000000003")),
        ("notice", 5, SlowModeChange(30)),
    ],
)
def test_the_log_builds_the_examples(name: str, seq: int, fact: Fact) -> None:
    entry = _entry(seq, fact)
    example = _golden(name)
    assert {"event": entry.draft.fact.event, "data": payload_of(ROOM, EPOCH, entry)} == example
    frame = frame_of(ROOM, EPOCH, entry)
    assert json.loads(frame.body) == [example["event"], example["data"]]
    assert (frame.epoch, frame.seq) == (EPOCH, seq)


def test_join_and_exit_payloads_match_the_examples() -> None:
    assert events.join_payload(ROOM, ME.user_id, ME.color) == _golden("join")["data"]
    assert events.exit_payload(ROOM, ME.user_id, ME.color) == _golden("exit")["data"]


def test_the_examples_use_event_names_of_the_contract() -> None:
    names = {value for name, value in vars(socket_events).items() if name.isupper() and isinstance(value, str)}
    assert SHAPES.keys() <= names


def test_errors_json_matches_the_table() -> None:
    table = [{"code": row.code, "status": row.status, "action": row.action.value} for row in errors.TABLE.values()]
    assert _golden("errors") == table
