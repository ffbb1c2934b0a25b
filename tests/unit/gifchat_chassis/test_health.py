from typing import Any

import httpx
from starlette.applications import Starlette

from gifchat_chassis.health import health_routes


async def test_probes_answer_and_metrics_are_exposed() -> None:
    answers: list[tuple[int, dict[str, Any]]] = [(200, {"status": "ok"}), (503, {"status": "unready", "mongo": "down"})]

    async def readiness() -> tuple[int, dict[str, Any]]:
        return answers.pop(0)

    app = Starlette(routes=health_routes(readiness))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/health/live")).json() == {"status": "ok"}
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ok"})
        unready = await client.get("/health/ready")
        assert (unready.status_code, unready.json()) == (503, {"status": "unready", "mongo": "down"})
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "# HELP python_info" in metrics.text
        assert (await client.post("/health/live")).status_code == 405
