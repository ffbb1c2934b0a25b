"""Engine.IO v4 packets and payloads, and which packets clients may send when. No I/O.

Source: the Engine.IO protocol, version 4 (https://socket.io/docs/v4/engine-io-protocol/). Names in quotes are
sections of that document.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

PROTOCOL_VERSION: Final = "4"
SEPARATOR: Final = "\x1e"
"""Separates the packets of a polling payload ("Packet encoding")."""
PROBE: Final = "probe"


class PacketType(IntEnum):
    """The first character of a text packet ("Protocol")."""

    OPEN = 0
    CLOSE = 1
    PING = 2
    PONG = 3
    MESSAGE = 4
    UPGRADE = 5
    NOOP = 6


@dataclass(frozen=True, slots=True)
class Packet:
    """One received packet."""

    type: PacketType
    data: str | bytes = ""


class InvalidPacketError(ValueError):
    """The data is not a packet, or the packet is not allowed in this state. It ends the connection."""


class Source(Enum):
    """Where a packet arrived."""

    POST = auto()
    """In the body of a polling request."""
    PROBING = auto()
    """On a WebSocket that has not yet taken over from polling."""
    WEBSOCKET = auto()
    """On the connection's WebSocket."""


class Action(Enum):
    """How the server reacts to a packet."""

    MESSAGE = auto()
    PONG = auto()
    CLOSE = auto()
    ANSWER_PROBE = auto()
    UPGRADE = auto()
    IGNORE = auto()


_FROM_CLIENT: Final = {
    PacketType.MESSAGE: Action.MESSAGE,
    PacketType.PONG: Action.PONG,
    PacketType.CLOSE: Action.CLOSE,
    PacketType.OPEN: Action.IGNORE,
    PacketType.UPGRADE: Action.IGNORE,
    PacketType.NOOP: Action.IGNORE,
}
_ACTIONS: Final = {
    Source.POST: _FROM_CLIENT,
    Source.WEBSOCKET: _FROM_CLIENT,
    Source.PROBING: {PacketType.PING: Action.ANSWER_PROBE, PacketType.UPGRADE: Action.UPGRADE},
}
"""A packet that is not in this table closes the connection, or only the WebSocket if it is probing.

Like the published server, ours ignores OPEN, UPGRADE and NOOP: arduinoWebSockets, for example, starts with UPGRADE.
"""
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/", " \t\r\n")


def action_of(source: Source, packet: Packet) -> Action:
    """Return how the server reacts to `packet`.

    Raises:
        InvalidPacketError: clients must not send this packet at all, or not from this source.
    """
    action = _ACTIONS[source].get(packet.type)
    if action is None or (action is Action.ANSWER_PROBE and packet.data != PROBE):
        raise InvalidPacketError(f"{packet.type.name} from {source.name}")
    return action


def parse_packet(text: str) -> Packet:
    """Parse a text packet: a digit and its data, or `b` and a binary message in base64.

    Raises:
        InvalidPacketError: the text is empty, has an unknown type, or is not valid base64.
    """
    digit = text[:1]
    if digit == "b":
        return binary_message(_from_base64(text[1:]))
    if not "0" <= digit <= "6":
        raise InvalidPacketError("a packet must start with a digit from 0 to 6")
    return Packet(PacketType(int(digit)), text[1:])


def binary_message(data: bytes) -> Packet:
    """Return the MESSAGE packet for a binary WebSocket message, which has no type digit ("Packet encoding")."""
    return Packet(PacketType.MESSAGE, data)


def split_payload(body: str) -> list[str]:
    """Return the packets of a polling payload, unparsed."""
    return body.split(SEPARATOR)


def _from_base64(text: str) -> bytes:
    """Decode either alphabet (RFC 4648, sections 4 and 5), with or without padding; white space is ignored."""
    digits = text.translate(_STANDARD_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError as error:
        raise InvalidPacketError("invalid base64") from error


def base64_packet(data: bytes) -> str:
    """Encode a binary message as text, for polling and for clients that cannot receive binary frames."""
    return "b" + base64.b64encode(data).decode()


def encode_payload(packets: Sequence[str | bytes]) -> str:
    """Join packets for a polling response. Each is the text of a packet, or the bytes of a binary message."""
    return SEPARATOR.join(packet if isinstance(packet, str) else base64_packet(packet) for packet in packets)


def open_packet(
    sid: str, upgrades: Sequence[str], ping_interval_s: float, ping_timeout_s: float, max_bytes: int
) -> str:
    """Return the OPEN packet ("Handshake"). It carries the times in milliseconds."""
    # Formatted by hand for speed: sids and transport names contain nothing that JSON would escape.
    names = ",".join(f'"{name}"' for name in upgrades)
    return (
        f'0{{"sid":"{sid}","upgrades":[{names}],"pingInterval":{round(ping_interval_s * 1000)},'
        f'"pingTimeout":{round(ping_timeout_s * 1000)},"maxPayload":{max_bytes}}}'
    )


CLOSE_PACKET: Final = f"{PacketType.CLOSE}"
PING_PACKET: Final = f"{PacketType.PING}"
PROBE_ANSWER: Final = f"{PacketType.PONG}{PROBE}"
NOOP_PACKET: Final = f"{PacketType.NOOP}"
