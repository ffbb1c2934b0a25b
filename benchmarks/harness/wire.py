"""The bytes to publish for a message, with the offset of its stamp."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gifchat_cli.bench.generator import STAMP


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes to publish, and where the load generator writes the stamp."""

    data: bytes
    stamp_at: int
    seq_at: int

    @classmethod
    def of(cls, data: bytes, seq_at: int = -1) -> Self:
        """Build a message, and find the offset of its stamp."""
        return cls(data, data.index(STAMP.encode()), seq_at)


def write_messages(file: Path, messages: Iterable[Message]) -> None:
    """Write the file for `load_generator --messages`."""
    with file.open("wb") as out:
        for message in messages:
            out.write(struct.pack("<Iii", len(message.data), message.stamp_at, message.seq_at) + message.data)


def resp(*parts: str | bytes) -> bytes:
    """Encode a Redis command."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)


def msgpack(value: Any) -> bytes:
    """Encode the part of MessagePack that Node's classic adapter needs."""
    match value:
        case int() if 0 <= value < 128:
            return bytes((value,))
        case str():
            raw = value.encode()
            head = bytes((0xA0 | len(raw),)) if len(raw) < 32 else bytes((0xD9, len(raw)))
            return head + raw
        case list() if len(value) < 16:
            return bytes((0x90 | len(value),)) + b"".join(map(msgpack, value))
        case dict() if len(value) < 16:
            return bytes((0x80 | len(value),)) + b"".join(msgpack(part) for item in value.items() for part in item)
        case _:
            raise ValueError(f"cannot encode {value!r}")
