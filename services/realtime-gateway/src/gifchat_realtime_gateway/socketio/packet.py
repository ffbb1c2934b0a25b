"""Socket.IO packets (protocol 5), read to the letter: what is none, or has no such payload, is refused."""

import json
import math
import re
from typing import Any, Final

from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, DISCONNECT, EVENT
from socketio.packet import Packet as AnyPacket

MAX_ATTACHMENTS: Final = 10

_FORMAT: Final = re.compile(r"([0-6])(?:([0-9]{1,3})-)?(?:(/[^,]*)(?:,|\Z))?([0-9]{0,15})(.*)", re.DOTALL)
"""`<type>[<attachments>-][<namespace>,][<id>][<JSON>]`"""
_BINARY: Final = {BINARY_EVENT: EVENT, BINARY_ACK: ACK}
_WITH_ATTACHMENTS: Final = {EVENT: BINARY_EVENT, ACK: BINARY_ACK}


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_no_number)
_strictly_to_json: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_with_names_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


def _to_json(data: Any) -> str:
    """Encode like JavaScript's `JSON.stringify`, which writes `null` for a number that is not finite."""
    try:
        return _strictly_to_json(data)
    except ValueError:
        # As a key such a number becomes a string (`"NaN"`), in JavaScript too.
        return _with_names_to_json(_finite(data))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(item) for item in data]
    return data


class _Json:
    """For what is sent: `json.dumps` would make an encoder for each packet."""

    @staticmethod
    def dumps(data: Any, separators: tuple[str, str]) -> str:  # noqa: ARG004 - they are these
        """As `json.dumps`."""
        return _to_json(data)


def _is_event_name(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def event_name(value: str | float) -> str:
    """The name of an event as a string. As in JavaScript, the number 1 names the event `"1"`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


class Packet(AnyPacket):
    """python-socketio's packet; what a client sends is read by the rules of the protocol.

    Raises:
        ValueError: it is no packet of a client's.
    """

    json = _Json  # type: ignore[assignment]  # what python-socketio calls of it

    @classmethod
    def data_is_binary(cls, data: Any) -> bool:  # noqa: ARG003
        """Not asked here: `encode` finds out, without a walk through what nearly never is."""
        return False

    def encode(self) -> str | list[str | bytes]:
        """The packet as it is sent; where its data hold bytes, the packet and then those.

        Raises:
            TypeError: there is no JSON of the data.
        """
        encoded: str | list[str | bytes]
        try:
            encoded = super().encode()  # type: ignore[no-untyped-call]
        except TypeError:
            if self.packet_type not in _WITH_ATTACHMENTS:
                raise
            self.packet_type = _WITH_ATTACHMENTS[self.packet_type]
            encoded = super().encode()  # type: ignore[no-untyped-call]
        return encoded

    def decode(self, encoded_packet: str | bytes) -> int:
        """Read a packet; returns how many attachments follow."""
        found = _FORMAT.fullmatch(encoded_packet) if isinstance(encoded_packet, str) else None
        if found is None:
            raise ValueError("no packet, or an attachment that none is expected of")
        digit, attachments, self.namespace, number, text = found.groups()
        self.packet_type = int(digit)
        self.id = int(number) if number else None
        self.data = self._payload(text) if text else None
        if (attachments is not None) != (self.packet_type in _BINARY):
            raise ValueError("binary packets, and no others, say how many attachments follow")
        count = int(attachments or 0)
        if count > MAX_ATTACHMENTS:
            raise ValueError(f"a packet has at most {MAX_ATTACHMENTS} attachments")
        if count == 0:
            self.packet_type = _BINARY.get(self.packet_type, self.packet_type)
        self._check(text)
        return count

    @staticmethod
    def _payload(text: str) -> Any:
        try:
            return _JSON.decode(text)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def _check(self, text: str) -> None:
        data = self.data
        if self.packet_type == CONNECT:
            right = not text or isinstance(data, dict)
        elif self.packet_type == DISCONNECT:
            right = not text
        elif self.packet_type in (EVENT, BINARY_EVENT):
            right = isinstance(data, list) and data != [] and _is_event_name(data[0])
        elif self.packet_type in (ACK, BINARY_ACK):
            # Our ids begin with 1.
            right = isinstance(data, list) and bool(self.id)
        else:
            right = False
        if not right:
            raise ValueError(f"a packet of type {self.packet_type} does not look so")

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
        """Put the attachments where their placeholders are."""
        try:
            return cls._put(data, attachments)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    @classmethod
    def _put(cls, data: Any, attachments: list[bytes]) -> Any:
        if isinstance(data, list):
            return [cls._put(item, attachments) for item in data]
        if not isinstance(data, dict):
            return data
        if data.get("_placeholder") is True:
            number = data.get("num")
            if type(number) is not int or not 0 <= number < len(attachments):
                raise ValueError("a placeholder without an attachment")
            return attachments[number]
        return {key: cls._put(value, attachments) for key, value in data.items()}
