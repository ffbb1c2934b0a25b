"""Read Socket.IO packets (protocol 5) strictly: anything that is not a valid client packet is refused."""

import json
import math
import re
from typing import Any, Final, NamedTuple

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)
MAX_ATTACHMENTS: Final = 10
TYPES_WITH_ATTACHMENTS: Final = {EVENT: BINARY_EVENT, ACK: BINARY_ACK}

_FORMAT: Final = re.compile(r"([0-6])(?:([0-9]{1,3})-)?(?:(/[^,]*)(?:,|\Z))?([0-9]{0,15})(.*)", re.DOTALL)
"""`<type>[<attachments>-][<namespace>,][<id>][<JSON>]`"""
_TYPES_WITHOUT_ATTACHMENTS: Final = {BINARY_EVENT: EVENT, BINARY_ACK: ACK}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_encode_strictly: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_encode_with_names: Final = json.JSONEncoder(separators=(",", ":")).encode


class EncodedJson(str):
    """JSON that is sent as it is."""

    __slots__ = ()


def to_json(data: Any) -> str:
    """Encode like JavaScript's `JSON.stringify`, which writes `null` for a number that is not finite."""
    if isinstance(data, EncodedJson):
        return data
    try:
        return _encode_strictly(data)
    except ValueError:
        # As a key, such a number becomes a string (`"NaN"`), as in JavaScript.
        return _encode_with_names(_finite(data))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(item) for item in data]
    return data


def event_name(value: str | float) -> str:
    """Return the name of an event as a string. As in JavaScript, the number 1 names the event `"1"`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


class PacketText(NamedTuple):
    """The parts of a packet."""

    kind: int
    namespace: str | None
    id: int | None
    data: Any
    attachments: int
    """How many binary attachments follow."""


def read_packet(text: str | bytes) -> PacketText:
    """Read a packet that a client sent.

    Raises:
        ValueError: the client may not send this.
    """
    found = _FORMAT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("not a packet, or an attachment without a packet before it")
    digit, stated, namespace, number, payload = found.groups()
    kind = int(digit)
    if (stated is not None) != (kind in _TYPES_WITHOUT_ATTACHMENTS):
        raise ValueError("binary packets, and only they, state how many attachments follow")
    attachments = int(stated or 0)
    if attachments > MAX_ATTACHMENTS:
        raise ValueError(f"a packet has at most {MAX_ATTACHMENTS} attachments")
    if attachments == 0:
        kind = _TYPES_WITHOUT_ATTACHMENTS.get(kind, kind)
    packet_id = int(number) if number else None
    try:
        data = _JSON.decode(payload) if payload else None
    except RecursionError as error:
        raise ValueError("the payload is nested too deeply") from error
    if kind in (EVENT, BINARY_EVENT):
        valid = isinstance(data, list) and data != [] and _is_event_name(data[0])
    elif kind in (ACK, BINARY_ACK):
        # The ids that the server assigns start at 1.
        valid = isinstance(data, list) and bool(packet_id)
    elif kind == CONNECT:
        valid = not payload or isinstance(data, dict)
    else:
        valid = kind == DISCONNECT and not payload
    if not valid:
        raise ValueError(f"wrong payload for a packet of type {kind}")
    return PacketText(kind, namespace, packet_id, data, attachments)


def _is_event_name(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def fill_placeholders(data: Any, attachments: list[bytes]) -> Any:
    """Replace each placeholder in `data` with its attachment.

    Raises:
        ValueError: a placeholder has no attachment, or the data is nested too deeply.
    """
    try:
        return _filled(data, attachments)
    except RecursionError as error:
        raise ValueError("the payload is nested too deeply") from error


def _filled(data: Any, attachments: list[bytes]) -> Any:
    if isinstance(data, list):
        return [_filled(item, attachments) for item in data]
    if not isinstance(data, dict):
        return data
    if data.get("_placeholder") is True:
        number = data.get("num")
        if type(number) is not int or not 0 <= number < len(attachments):
            raise ValueError("a placeholder without an attachment")
        return attachments[number]
    return {key: _filled(value, attachments) for key, value in data.items()}
