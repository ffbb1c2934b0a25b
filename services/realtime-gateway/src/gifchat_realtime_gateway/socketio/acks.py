"""Build the acks that clients receive."""

from datetime import datetime
from typing import Any

from gifchat_contracts.errors import Refused
from gifchat_contracts.events import timestamp
from gifchat_contracts.languages import Language
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.domain.recovery import items_of
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import EncodedMessage
from gifchat_realtime_gateway.socketio.packet import EncodedJson
from gifchat_realtime_gateway.use_cases.join_room import Joined

Ack = dict[str, Any]


def joined_ack(joined: Joined, session: Session, now: datetime) -> Ack:
    """Return the ack of an admitted `join`."""
    return {
        "ok": True,
        "room": joined.room,
        "position": joined.position.as_json(),
        "recovered": joined.recovered,
        "recent": items_of(joined.recent),
        "occupancy": joined.occupancy,
        "you": {"user_id": session.who.user_id, "color": session.who.color},
        "membership": joined.membership,
        "time": timestamp(now),
    }


def sent_ack(message: EncodedMessage) -> EncodedJson:
    """Return the ack of a stored message, without encoding the message again."""
    return EncodedJson(f'{{"ok":true,"message":{message}}}')


def probed_ack(now: datetime) -> Ack:
    """Return the ack of a `probe`, with the server's time."""
    return {"ok": True, "time": timestamp(now)}


def refused_ack(refusal: Refused, language: Language) -> Ack:
    """Return the ack of a refused request: a code for programs, a sentence for people."""
    metrics.REFUSED.labels(refusal.code.code).inc()
    ack: Ack = {
        "ok": False,
        "code": refusal.code.code,
        "message": refusal.code.text(language),
        "retry": refusal.code.retry,
    }
    if refusal.retry_after_s is not None:
        ack["retry_after_s"] = refusal.retry_after_s
    if refusal.detail is not None:
        ack["detail"] = refusal.detail
    return ack
