"""WebSocket frames, the server's side, as values (RFC 6455). No I/O.

Only what a server of messages needs. Of extensions there is one, and only where it was agreed on (`deflate.py`):
otherwise reserved bits are an error (section 5.2).
"""

import base64
import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gifchat_realtime_gateway.engine.deflate import NotDeflatedError, TooLargeError, deflate, inflate

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_COMPRESSED: Final = 0x40
"""RSV1 of a message's first frame (RFC 7692, 6)."""
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_CONTROL_MAX: Final = 125
_WORTH_DEFLATING: Final = 64
"""Bytes; below, hardly anything becomes smaller."""
_INFLATED_AT_ONCE: Final = 256 * 1024
"""What may be made of compressed messages before others have their turn: as much as a read gives of plain ones."""


class Opcode(IntEnum):
    """What a frame is (5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a connection ends (7.4); from 4000 on our own."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SLOW_CONSUMER = 4008
    """Reading was too slow: connect again, and recover from the last position."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, put together from its fragments."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered with `pong_frame(payload)`."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closing:
    """The other side closes; answer with the same code."""

    code: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The other side broke the rules: close with this code. Nothing follows."""

    code: CloseCode
    why: str


Event = Message | Ping | Closing | Failed


class _Broken(Exception):  # noqa: N818 - becomes `Failed`
    def __init__(self, code: CloseCode, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


def accept_key(key: bytes) -> bytes | None:
    """The answer to `Sec-WebSocket-Key` (4.2.2); None where the key is not 16 bytes in base64."""
    try:
        if len(base64.b64decode(key, validate=True)) != _KEY_BYTES:
            return None
    except ValueError:
        return None
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def frame(opcode: int, payload: bytes) -> bytes:
    """A frame from a server: whole, not masked."""
    size = len(payload)
    if size <= _CONTROL_MAX:
        return bytes((_FIN | opcode, size)) + payload
    if size <= 0xFFFF:
        return bytes((_FIN | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def text_frame(text: bytes) -> bytes:
    """A text message in UTF-8."""
    return frame(Opcode.TEXT, text)


def deflated_frame(text: bytes) -> bytes:
    """A text message in UTF-8 for who reads compressed ones; as it is where that would not make it smaller."""
    if len(text) < _WORTH_DEFLATING:
        return text_frame(text)
    compressed = deflate(text)
    return frame(_COMPRESSED | Opcode.TEXT, compressed) if len(compressed) < len(text) else text_frame(text)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; `NO_STATUS` is never sent but shown as an empty payload (7.1.5)."""
    if code == CloseCode.NO_STATUS:
        return frame(Opcode.CLOSE, b"")
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode())


class Parser:
    """Turns received bytes into events. After `Closing` or `Failed` everything else is ignored."""

    __slots__ = (
        "_buffer",
        "_compressed",
        "_done",
        "_extended",
        "_fragments",
        "_inflated",
        "_max_bytes",
        "_opcode",
        "behind",
    )

    def __init__(self, max_bytes: int, *, deflates: bool = False) -> None:
        """`max_bytes` bounds a whole message; `deflates`: it may be compressed."""
        self._max_bytes = max_bytes
        self._extended = _COMPRESSED if deflates else 0
        """The reserved bits that a message may begin with."""
        self._compressed = False
        self._inflated = 0
        self.behind = False
        """Whether there is more in what it was fed: feed it nothing for that, in another turn."""
        self._buffer = b""
        self._fragments: bytearray | None = None
        self._opcode = Opcode.CONTINUATION
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        """What is complete now, or a part of it: see `behind`."""
        events: list[Event] = []
        self.behind = False
        if self._done:
            return events
        buffer = self._buffer + data if self._buffer else data
        at = self._inflated = 0
        try:
            while (found := self._frame(buffer, at)) is not None:
                first, payload, at = found
                event = self._event(first, payload)
                if event is not None:
                    events.append(event)
                if self._done:
                    break
                if self._inflated > _INFLATED_AT_ONCE:
                    self.behind = True
                    break
        except _Broken as broken:
            self._done = True
            events.append(Failed(broken.code, broken.why))
        self._buffer = b"" if self._done else buffer[at:]
        return events

    def _frame(self, buffer: bytes, at: int) -> tuple[int, bytes, int] | None:
        """The frame at `at`: its first byte, its payload, and where the next one begins; None: not all is here."""
        have = len(buffer) - at
        if have < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        self._check(first, second)
        size = second & _LENGTH
        head, least = 2, 0
        if size == 126:
            if have < 4:
                return None
            size, head, least = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4, 126
        elif size == 127:
            if have < 10:
                return None
            size, head, least = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10, 0x10000
        if size < least:
            raise _Broken(CloseCode.PROTOCOL_ERROR, "a length takes no more bytes than it needs")
        # Told by its header: what is too big is not waited for.
        begun = len(self._fragments) if self._fragments else 0
        if size + begun > self._max_bytes and not first & 0x08:
            raise _Broken(CloseCode.TOO_BIG, f"a message has at most {self._max_bytes} bytes")
        end = at + head + 4 + size
        if len(buffer) < end:
            return None
        return first, _unmask(buffer[at + head + 4 : end], buffer[at + head : at + head + 4]), end

    def _check(self, first: int, second: int) -> None:
        if first & _RESERVED and (first & _RESERVED != self._extended or not _begins_message(first)):
            raise _Broken(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASKED:
            raise _Broken(CloseCode.PROTOCOL_ERROR, "a client masks its frames")
        opcode = first & _OPCODE
        if opcode & 0x08:
            if opcode > Opcode.PONG:
                raise _Broken(CloseCode.PROTOCOL_ERROR, f"opcode {opcode}")
            if not first & _FIN or second & _LENGTH > _CONTROL_MAX:
                raise _Broken(CloseCode.PROTOCOL_ERROR, "a control frame is whole and has at most 125 bytes")
        elif opcode > Opcode.BINARY:
            raise _Broken(CloseCode.PROTOCOL_ERROR, f"opcode {opcode}")
        elif (opcode == Opcode.CONTINUATION) != (self._fragments is not None):
            raise _Broken(CloseCode.PROTOCOL_ERROR, "a continuation without a beginning, or a beginning without an end")

    def _event(self, first: int, payload: bytes) -> Event | None:
        opcode = first & _OPCODE
        if opcode & 0x08:
            return self._control(opcode, payload)
        if self._fragments is None:
            self._opcode = Opcode(opcode)
            self._compressed = bool(first & _COMPRESSED)
            if first & _FIN:
                return self._message(payload)
            # One growing buffer: empty fragments, of which there may be any number, take no memory.
            self._fragments = bytearray(payload)
            return None
        self._fragments += payload
        if not first & _FIN:
            return None
        whole, self._fragments = bytes(self._fragments), None
        return self._message(whole)

    def _message(self, payload: bytes) -> Message:
        if self._compressed:
            payload = self._inflate(payload)
        if self._opcode is Opcode.BINARY:
            return Message(payload)
        try:
            return Message(payload.decode())
        except UnicodeDecodeError as error:
            raise _Broken(CloseCode.INVALID_DATA, "text is UTF-8") from error

    def _inflate(self, payload: bytes) -> bytes:
        try:
            inflated = inflate(payload, self._max_bytes)
        except NotDeflatedError as error:
            raise _Broken(CloseCode.INVALID_DATA, f"not compressed as agreed: {error}") from error
        except TooLargeError as error:
            raise _Broken(CloseCode.TOO_BIG, f"a message has at most {self._max_bytes} bytes") from error
        self._inflated += len(inflated)
        return inflated

    def _control(self, opcode: int, payload: bytes) -> Event | None:
        if opcode == Opcode.PING:
            return Ping(payload)
        if opcode == Opcode.PONG:
            return None
        self._done = True
        return Closing(_close_code(payload))


def _begins_message(first: int) -> bool:
    return first & _OPCODE in (Opcode.TEXT, Opcode.BINARY)


def _close_code(payload: bytes) -> int:
    """The code in a close frame (7.4).

    Raises:
        _Broken: a code that must not be sent, half of one, or a reason that is not UTF-8.
    """
    if not payload:
        return CloseCode.NO_STATUS
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise _Broken(CloseCode.PROTOCOL_ERROR, "no valid close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise _Broken(CloseCode.INVALID_DATA, "a reason is UTF-8") from error
    return code


def _unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one big number: no loop over bytes."""
    size = len(payload)
    if size == 0:
        return b""
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
