"""Checks whether all gateways stay ready."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

import httpx

from gifchat_cli.ports import LOOPBACK

_EVERY_S = 0.25
_TIMEOUT_S = 5.0
"""A gateway reports `deaf` after 5 s without its own canary."""


class GatewayWatch:
    """Asks the gateways directly, not through nginx."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.unready: Counter[str] = Counter()
        """Answers that were not `ok`, by status: `deaf`, `recovering`, or `silent` if there was none in time."""
        self._ports = ports

    async def watch(self) -> None:
        """Ask until cancelled."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as http:
            await asyncio.gather(*(self._watch_one(http, port) for port in self._ports))

    async def _watch_one(self, http: httpx.AsyncClient, port: int) -> None:
        while True:
            try:
                answer = await http.get(f"http://{LOOPBACK}:{port}/health/ready")
                status = str(answer.json()["status"])
            except (httpx.HTTPError, json.JSONDecodeError):
                status = "silent"
            if status != "ok":
                self.unready[status] += 1
            await asyncio.sleep(_EVERY_S)
