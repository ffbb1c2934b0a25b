"""WebSocket frames for a server (RFC 6455). No I/O.

Supports one extension if it was negotiated (`deflate.py`). Without it, reserved bits are an error (5.2). Section
numbers in parentheses are RFC 6455's.
"""

import base64
import hashlib
import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gifchat_realtime_gateway.engine.deflate import InvalidDeflateError, TooLargeError, deflate, inflate

_ACCEPT_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_FIN: Final = 0x80
_RESERVED_BITS: Final = 0x70
_RSV1: Final = 0x40
"""Set in the first frame of a compressed message (RFC 7692, section 6)."""
_OPCODE_BITS: Final = 0x0F
_MASK_BIT: Final = 0x80
_LENGTH_BITS: Final = 0x7F
_MAX_CONTROL_BYTES: Final = 125
_MIN_DEFLATE_BYTES: Final = 64
"""Shorter messages are not compressed, because they hardly shrink."""
_MAX_INFLATED_PER_TURN: Final = 256 * 1024
"""After this many decompressed bytes, parsing pauses until the next loop turn. About the size of one socket read."""


class Opcode(IntEnum):
    """The kind of a frame (5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a connection ends (7.4). Codes from 4000 on are our own."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SESSION_REVOKED = 4001
    """The user's session was signed out. The client should stop."""
    SLOW_CONSUMER = 4008
    """The client read too slowly. It should reconnect and recover from its last position."""
    RATE_LIMITED = 4029
    """The client kept sending too much."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, assembled from its fragments."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, to be answered with a pong of the same payload (5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closing:
    """The client closes the WebSocket. Answer with the same code (5.5.1)."""

    code: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The client broke a rule. Close with this code; no event follows."""

    code: CloseCode
    why: str


Event = Message | Ping | Closing | Failed


class _ViolationError(Exception):
    """The client broke a rule. `feed` turns it into `Failed`."""

    def __init__(self, code: CloseCode, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


def accept_key(key: bytes) -> bytes | None:
    """Return the answer to `Sec-WebSocket-Key` (4.2.2); None if the key is not 16 bytes in base64."""
    try:
        if len(base64.b64decode(key, validate=True)) != _KEY_BYTES:
            return None
    except ValueError:
        return None
    return base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID, usedforsecurity=False).digest())


def frame(opcode: int, payload: bytes) -> bytes:
    """Return an unfragmented, unmasked frame (5.2)."""
    size = len(payload)
    if size <= _MAX_CONTROL_BYTES:
        return bytes((_FIN | opcode, size)) + payload
    if size <= 0xFFFF:
        return bytes((_FIN | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def text_frame(text: bytes) -> bytes:
    """Return the frame of a text message, which is in UTF-8."""
    return frame(Opcode.TEXT, text)


def deflated_frame(text: bytes) -> bytes:
    """Return the frame of a text message in UTF-8, compressed if that makes it smaller."""
    if len(text) < _MIN_DEFLATE_BYTES:
        return text_frame(text)
    compressed = deflate(text)
    return frame(_RSV1 | Opcode.TEXT, compressed) if len(compressed) < len(text) else text_frame(text)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame. `NO_STATUS` must not be sent (7.4.1), so it becomes an empty payload."""
    if code == CloseCode.NO_STATUS:
        return frame(Opcode.CLOSE, b"")
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode())


class Parser:
    """Turns received bytes into events. Ignores everything after `Closing` or `Failed`."""

    __slots__ = (
        "_allowed_bits",
        "_buffer",
        "_compressed",
        "_fragments",
        "_max_bytes",
        "_opcode",
        "closed",
        "frames",
        "has_backlog",
        "inflated_bytes",
    )

    def __init__(self, max_bytes: int, *, deflates: bool = False) -> None:
        """`max_bytes` limits a whole message, also after decompression. `deflates`: messages may be compressed."""
        self._max_bytes = max_bytes
        self._allowed_bits = _RSV1 if deflates else 0
        """Reserved bits that the first frame of a message may have."""
        self._compressed = False
        self.frames = 0
        """How many frames the last call of `feed` has parsed."""
        self.inflated_bytes = 0
        """How many bytes it has decompressed."""
        self.has_backlog = False
        """Whether buffered frames are left unparsed. Call `feed(b"")` in a later turn of the loop to continue."""
        self._buffer = b""
        self._fragments: bytearray | None = None
        self._opcode = Opcode.CONTINUATION
        self.closed = False
        """Whether all further data is ignored."""

    def feed(self, data: bytes, max_frames: int = sys.maxsize) -> list[Event]:
        """Parse at most `max_frames` frames, and return their events.

        If `has_backlog` is set, more of them follow in a later call.
        """
        events: list[Event] = []
        self.has_backlog = False
        self.frames = self.inflated_bytes = 0
        if self.closed:
            return events
        buffer = self._buffer + data if self._buffer else data
        at = 0
        try:
            while True:
                if self.frames >= max_frames:
                    self.has_backlog = at < len(buffer)
                    break
                found = self._read_frame(buffer, at)
                if found is None:
                    break
                self.frames += 1
                first, payload, at = found
                event = self._process_frame(first, payload)
                if event is not None:
                    events.append(event)
                if self.closed:
                    break
                if self.inflated_bytes > _MAX_INFLATED_PER_TURN:
                    self.has_backlog = True
                    break
        except _ViolationError as violation:
            self.closed = True
            events.append(Failed(violation.code, violation.why))
        self._buffer = b"" if self.closed else buffer[at:]
        return events

    def _read_frame(self, buffer: bytes, at: int) -> tuple[int, bytes, int] | None:
        """Return the first byte and payload of the frame at `at`, and where the next one starts; None if incomplete."""
        available = len(buffer) - at
        if available < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        self._check_header(first, second)
        size = second & _LENGTH_BITS
        header_bytes, min_size = 2, 0
        if size == 126:
            if available < 4:
                return None
            size, header_bytes, min_size = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4, 126
        elif size == 127:
            if available < 10:
                return None
            size, header_bytes, min_size = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10, 0x10000
        if size < min_size:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "a length must use the fewest bytes")
        # Check the header: there is no need to wait for the payload of an oversized message.
        fragments_bytes = len(self._fragments) if self._fragments else 0
        if size + fragments_bytes > self._max_bytes and not first & 0x08:
            raise _ViolationError(CloseCode.TOO_BIG, f"a message may have at most {self._max_bytes} bytes")
        next_at = at + header_bytes + 4 + size
        if len(buffer) < next_at:
            return None
        return (
            first,
            _unmask(buffer[at + header_bytes + 4 : next_at], buffer[at + header_bytes : at + header_bytes + 4]),
            next_at,
        )

    def _check_header(self, first: int, second: int) -> None:
        reserved, opcode = first & _RESERVED_BITS, first & _OPCODE_BITS
        if reserved and (reserved != self._allowed_bits or opcode not in (Opcode.TEXT, Opcode.BINARY)):
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASK_BIT:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "client frames must be masked")
        if opcode & 0x08:
            if opcode > Opcode.PONG:
                raise _ViolationError(CloseCode.PROTOCOL_ERROR, f"opcode {opcode}")
            if not first & _FIN or second & _LENGTH_BITS > _MAX_CONTROL_BYTES:
                raise _ViolationError(
                    CloseCode.PROTOCOL_ERROR, "a control frame must be whole and at most 125 bytes long"
                )
        elif opcode > Opcode.BINARY:
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, f"opcode {opcode}")
        elif (opcode == Opcode.CONTINUATION) != (self._fragments is not None):
            raise _ViolationError(CloseCode.PROTOCOL_ERROR, "unexpected or missing continuation frame")

    def _process_frame(self, first: int, payload: bytes) -> Event | None:
        opcode = first & _OPCODE_BITS
        if opcode & 0x08:
            return self._process_control(opcode, payload)
        if self._fragments is None:
            self._opcode = Opcode(opcode)
            self._compressed = bool(first & _RSV1)
            if first & _FIN:
                return self._finish_message(payload)
            # One growing buffer, so that any number of empty fragments takes no memory.
            self._fragments = bytearray(payload)
            return None
        self._fragments += payload
        if not first & _FIN:
            return None
        whole, self._fragments = bytes(self._fragments), None
        return self._finish_message(whole)

    def _finish_message(self, payload: bytes) -> Message:
        if self._compressed:
            payload = self._inflate(payload)
        if self._opcode is Opcode.BINARY:
            return Message(payload)
        try:
            return Message(payload.decode())
        except UnicodeDecodeError as error:
            raise _ViolationError(CloseCode.INVALID_DATA, "text must be UTF-8") from error

    def _inflate(self, payload: bytes) -> bytes:
        try:
            inflated = inflate(payload, self._max_bytes)
        except InvalidDeflateError as error:
            raise _ViolationError(CloseCode.INVALID_DATA, f"invalid compressed message: {error}") from error
        except TooLargeError as error:
            raise _ViolationError(CloseCode.TOO_BIG, f"a message may have at most {self._max_bytes} bytes") from error
        self.inflated_bytes += len(inflated)
        return inflated

    def _process_control(self, opcode: int, payload: bytes) -> Event | None:
        if opcode == Opcode.PING:
            return Ping(payload)
        if opcode == Opcode.PONG:
            return None
        self.closed = True
        return Closing(_close_code(payload))


def _close_code(payload: bytes) -> int:
    """Return the code in a close frame (5.5.1, 7.4).

    Raises:
        _ViolationError: the code must not be sent or is cut off, or the reason is not UTF-8.
    """
    if not payload:
        return CloseCode.NO_STATUS
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise _ViolationError(CloseCode.PROTOCOL_ERROR, "invalid close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise _ViolationError(CloseCode.INVALID_DATA, "a close reason must be UTF-8") from error
    return code


def _unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR the payload with the repeated mask (5.3) as one big integer, which avoids a loop over bytes."""
    size = len(payload)
    if size == 0:
        return b""
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
