from collections.abc import Sequence

from gifchat_realtime_gateway.engine.write_loop import PythonSink

Sink = PythonSink

def write_all(sinks: Sequence[PythonSink], data: bytes) -> list[tuple[int, int]]: ...
