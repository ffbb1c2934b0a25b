from collections.abc import Sequence

from gifchat_realtime_gateway.engine.write_loop import SinkInPython

Sink = SinkInPython

def write_all(sinks: Sequence[SinkInPython], data: bytes) -> list[tuple[int, int]]: ...
