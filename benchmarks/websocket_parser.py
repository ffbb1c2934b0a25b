"""What does a WebSocket frame parser cost per idle connection and per message?

Run it alone: `python -m benchmarks.websocket_parser`. It prints the table of docs/adr/0012-our-own-websocket-parser.md.
"""

import logging
import os
import statistics
import struct
import time
import tracemalloc
from collections.abc import Callable

from websockets.frames import Frame
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from wsproto.connection import Connection, ConnectionType

from gifchat_realtime_gateway.engine.websocket import Parser

ROUNDS, MESSAGES, CONNECTIONS = 5, 20_000, 2_000
MAX_BYTES = 65_536
SIZES = (60, 1_000)


def masked(size: int) -> bytes:
    """Return the frame of a client's text message."""
    mask, payload = os.urandom(4), b"x" * size
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + struct.pack(">H", size)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def ours(data: bytes) -> Callable[[], object]:
    parser = Parser(MAX_BYTES)
    return lambda: parser.feed(data)


def websockets_frames(data: bytes) -> Callable[[], object]:
    """Parse with only the frame parser, without the protocol object around it."""
    reader = StreamReader()

    def parse() -> object:
        reader.feed_data(data)
        steps = Frame.parse(reader.read_exact, mask=True, max_size=MAX_BYTES)
        try:
            while True:
                next(steps)
        except StopIteration as stopped:
            return bytes(stopped.value.data).decode()

    return parse


def wsproto(data: bytes) -> Callable[[], object]:
    connection = Connection(ConnectionType.SERVER)

    def parse() -> object:
        connection.receive_data(data)
        return list(connection.events())

    return parse


def microseconds(make: Callable[[bytes], Callable[[], object]], size: int) -> float:
    parse = make(masked(size))
    started = time.perf_counter()
    for _ in range(MESSAGES):
        parse()
    return (time.perf_counter() - started) / MESSAGES * 1e6


def bytes_each(make: Callable[[], object]) -> float:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [make() for _ in range(CONNECTIONS)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(kept)


def main() -> None:
    logging.disable(logging.CRITICAL)
    parsers: dict[str, tuple[Callable[[bytes], Callable[[], object]], Callable[[], object]]] = {
        "ours": (ours, lambda: Parser(MAX_BYTES)),
        "websockets": (websockets_frames, lambda: ServerProtocol(max_size=MAX_BYTES)),
        "wsproto": (wsproto, lambda: Connection(ConnectionType.SERVER)),
    }
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for size in SIZES:
            for name, (make, _idle) in parsers.items():
                times.setdefault((name, size), []).append(microseconds(make, size))
    print("| | bytes per idle connection | " + " | ".join(f"µs per message of {size} bytes" for size in SIZES) + " |")
    print("| --- | --- | " + " | ".join("---" for _ in SIZES) + " |")
    for name, (_make, idle) in parsers.items():
        cells = [
            f"{statistics.median(times[name, size]):.1f} ({min(times[name, size]):.1f}–{max(times[name, size]):.1f})"
            for size in SIZES
        ]
        print(f"| {name} | {bytes_each(idle):,.0f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
