"""Engine.IO v4 as values: packets, payloads, and what may come when. No I/O.

Source: the Engine.IO protocol, version 4 (https://socket.io/docs/v4/engine-io-protocol/).
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

PROTOCOL_VERSION: Final = "4"
SEPARATOR: Final = "\x1e"
"""Between the packets of a polling payload."""
PROBE: Final = "probe"


class PacketType(IntEnum):
    """The first character of a packet in text."""

    OPEN = 0
    CLOSE = 1
    PING = 2
    PONG = 3
    MESSAGE = 4
    UPGRADE = 5
    NOOP = 6


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it was received."""

    type: PacketType
    data: str | bytes = ""


class InvalidPacketError(ValueError):
    """What came is no packet, or not at this moment: the connection is closed."""


class Via(Enum):
    """By which way a packet came."""

    POST = auto()
    """The body of a polling request."""
    PROBING = auto()
    """A WebSocket that wants to take over from polling, before it has."""
    WEBSOCKET = auto()
    """The WebSocket of the connection."""


class Action(Enum):
    """What a packet from a client leads to."""

    MESSAGE = auto()
    PONG = auto()
    CLOSE = auto()
    ANSWER_PROBE = auto()
    UPGRADE = auto()
    IGNORE = auto()


_ACTIONS: Final = {
    (Via.POST, PacketType.MESSAGE): Action.MESSAGE,
    (Via.POST, PacketType.PONG): Action.PONG,
    (Via.POST, PacketType.CLOSE): Action.CLOSE,
    (Via.POST, PacketType.OPEN): Action.IGNORE,
    (Via.POST, PacketType.UPGRADE): Action.IGNORE,
    (Via.POST, PacketType.NOOP): Action.IGNORE,
    (Via.WEBSOCKET, PacketType.MESSAGE): Action.MESSAGE,
    (Via.WEBSOCKET, PacketType.PONG): Action.PONG,
    (Via.WEBSOCKET, PacketType.CLOSE): Action.CLOSE,
    (Via.WEBSOCKET, PacketType.OPEN): Action.IGNORE,
    (Via.WEBSOCKET, PacketType.UPGRADE): Action.IGNORE,
    (Via.WEBSOCKET, PacketType.NOOP): Action.IGNORE,
    (Via.PROBING, PacketType.PING): Action.ANSWER_PROBE,
    (Via.PROBING, PacketType.UPGRADE): Action.UPGRADE,
}
"""Everything that is not in this table closes the connection (or the probing WebSocket alone).

Like the published server, this one ignores OPEN, UPGRADE and NOOP: arduinoWebSockets, for example, opens with UPGRADE.
"""
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/", " \t\r\n")


def action_of(via: Via, packet: Packet) -> Action:
    """What to do about `packet`.

    Raises:
        InvalidPacketError: a client does not send this, or not this way.
    """
    action = _ACTIONS.get((via, packet.type))
    if action is None or (action is Action.ANSWER_PROBE and packet.data != PROBE):
        raise InvalidPacketError(f"{packet.type.name} by {via.name}")
    return action


def parse_packet(text: str) -> Packet:
    """A packet from text: a digit and its data, or `b` and a binary message in base64.

    Raises:
        InvalidPacketError: the text is empty, has an unknown type, or is not valid base64.
    """
    digit = text[:1]
    if digit == "b":
        return binary_message(_from_base64(text[1:]))
    if not "0" <= digit <= "6":
        raise InvalidPacketError("a packet begins with a digit from 0 to 6")
    return Packet(PacketType(int(digit)), text[1:])


def binary_message(data: bytes) -> Packet:
    """A binary WebSocket message is a MESSAGE packet without a digit."""
    return Packet(PacketType.MESSAGE, data)


def parse_payload(body: str) -> list[Packet]:
    """The packets of a polling payload.

    Raises:
        InvalidPacketError: one of them is invalid.
    """
    return [parse_packet(part) for part in body.split(SEPARATOR)]


def _from_base64(text: str) -> bytes:
    """Decode either alphabet (RFC 4648, 4 and 5), padded or not, ignoring white space."""
    digits = text.translate(_STANDARD_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError as error:
        raise InvalidPacketError("not valid base64") from error


def base64_packet(data: bytes) -> str:
    """Encode a binary message as text, for polling and for clients that cannot receive binary frames."""
    return "b" + base64.b64encode(data).decode()


def encode_payload(packets: Sequence[str | bytes]) -> str:
    """Join packets for a polling response; each is its text, or the bytes of a binary message."""
    return SEPARATOR.join(packet if isinstance(packet, str) else base64_packet(packet) for packet in packets)


def open_packet(
    sid: str, upgrades: Sequence[str], ping_interval_s: float, ping_timeout_s: float, max_bytes: int
) -> str:
    """The handshake."""
    # Neither a sid nor the name of a transport has a character that JSON would escape.
    names = ",".join(f'"{name}"' for name in upgrades)
    return (
        f'0{{"sid":"{sid}","upgrades":[{names}],"pingInterval":{round(ping_interval_s * 1000)},'
        f'"pingTimeout":{round(ping_timeout_s * 1000)},"maxPayload":{max_bytes}}}'
    )


CLOSE_PACKET: Final = f"{PacketType.CLOSE}"
PING_PACKET: Final = f"{PacketType.PING}"
PROBE_ANSWER: Final = f"{PacketType.PONG}{PROBE}"
NOOP_PACKET: Final = f"{PacketType.NOOP}"
