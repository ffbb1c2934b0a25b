"""What the server keeps after it has closed a connection."""

from gifchat_realtime_gateway.engine.connection import CloseReason
from gifchat_realtime_gateway.engine.server import MAX_LINGERING, EngineServer
from gifchat_testkit.engine_worlds import options


async def test_the_number_of_closed_connections_with_unpolled_packets_is_limited() -> None:
    engine = EngineServer(options=options(lambda: None))  # type: ignore[arg-type, return-value]
    sids = [f"sid-{number}" for number in range(MAX_LINGERING + 10)]
    for sid in sids:
        connection = engine.add(sid, {"REMOTE_ADDR": "192.0.2.1"}, None)
        connection.send("4last words")
        connection.close(CloseReason.SERVER)
    kept = [sid for sid in sids if engine.find(sid) is not None]
    assert kept == sids[-MAX_LINGERING:]
    assert await connection.poll() == ["4last words"]
    assert engine.find(sids[-1]) is None, "all packets are polled"
