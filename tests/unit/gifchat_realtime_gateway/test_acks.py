"""The content of acks."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY

from gifchat_contracts import errors
from gifchat_contracts.errors import ErrorCode, Refused
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_contracts.languages import LANGUAGES, Language
from gifchat_contracts.position import Position
from gifchat_contracts.texts import ERROR_TEXTS
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import EncodedMessage
from gifchat_realtime_gateway.socketio.acks import joined_ack, probed_ack, refused_ack, sent_ack
from gifchat_realtime_gateway.use_cases.join_room import Joined
from gifchat_testkit.fakes.rooms_api import FakeRoomsApi

ROOM = RoomId("a" * 24)
NOW = datetime(2026, 11, 30, 13, 14, 15, 678_999, tzinfo=UTC)
ANNE, BOB = (Identity(UserId(digit * 24), f"#{digit * 6}") for digit in "12")


def test_a_sent_ack_carries_the_stored_message_as_rooms_api_encoded_it() -> None:
    encoded = '{ "chat":"안녕 \\u0041","seq":1}'
    ack = sent_ack(EncodedMessage(encoded))
    assert encoded in ack
    assert json.loads(ack) == {"ok": True, "message": {"chat": "안녕 A", "seq": 1}}


@pytest.mark.parametrize("recovered", [True, False])
def test_a_joined_ack_has_the_room_the_missed_events_and_the_user(recovered: bool) -> None:
    stored = FakeRoomsApi().create(ROOM)
    frames = [stored.say("one", BOB), stored.say("two", BOB), stored.delete(2)]
    joined = Joined(stored.payload, Position(stored.epoch, 3), recovered, frames, 7, "a token")
    ack = joined_ack(joined, Session("sid", ANNE, "en"), NOW)
    items = ack.pop("recent")
    assert ack == {
        "ok": True,
        "room": stored.payload,
        "position": {"epoch": stored.epoch, "seq": 3},
        "recovered": recovered,
        "occupancy": 7,
        "you": {"user_id": ANNE.user_id, "color": ANNE.color},
        "membership": "a token",
        "time": "2026-11-30T13:14:15.678Z",
    }
    assert [(item["event"], item["data"]["seq"]) for item in items] == [("chat", 1), ("chat", 2), ("chatDeleted", 3)]
    assert items[0]["data"]["chat"] == "one"
    # An ack is sent as JSON.
    assert json.loads(json.dumps(ack)) == ack


def test_a_joined_ack_is_empty_if_nothing_was_missed() -> None:
    stored = FakeRoomsApi().create(ROOM)
    joined = Joined(stored.payload, Position(Epoch("b" * 16), 0), True, [], 1, "a token")
    assert joined_ack(joined, Session("sid", ANNE, "en"), NOW)["recent"] == []


def test_a_probe_ack_has_the_servers_time() -> None:
    assert probed_ack(NOW) == {"ok": True, "time": "2026-11-30T13:14:15.678Z"}


@pytest.mark.parametrize("code", errors.TABLE.values(), ids=lambda code: code.code)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_has_a_code_and_a_sentence(code: ErrorCode, language: Language) -> None:
    assert refused_ack(Refused(code), language) == {
        "ok": False,
        "code": code.code,
        "message": ERROR_TEXTS[language][code.code],
        "retry": code.retry,
    }


@pytest.mark.parametrize(
    ("how", "more"),
    [
        ({"retry_after_s": 1.5}, {"retry_after_s": 1.5}),
        ({"retry_after_s": 0.0}, {"retry_after_s": 0.0}),
        ({"detail": "no such field"}, {"detail": "no such field"}),
        ({"detail": ""}, {"detail": ""}),
        ({"retry_after_s": 2.0, "detail": "slow"}, {"retry_after_s": 2.0, "detail": "slow"}),
    ],
)
def test_a_refusal_has_a_retry_time_and_a_detail_if_known(how: dict[str, Any], more: dict[str, Any]) -> None:
    bare = refused_ack(Refused(errors.RATE_LIMITED), "en")
    assert refused_ack(Refused(errors.RATE_LIMITED, **how), "en") == bare | more


def test_refusals_are_counted_by_code() -> None:
    def counted(code: ErrorCode) -> float:
        return REGISTRY.get_sample_value("gateway_refused_total", {"code": code.code}) or 0.0

    full, banned = counted(errors.ROOM_FULL), counted(errors.BANNED)
    refused_ack(Refused(errors.ROOM_FULL), "ko")
    refused_ack(Refused(errors.ROOM_FULL), "en")
    assert (counted(errors.ROOM_FULL) - full, counted(errors.BANNED) - banned) == (2.0, 0.0)
