"""The nodes of the cluster: each one keeps its address in Redis under a lease and caches the others' addresses."""

import asyncio
import socket
import time
from collections.abc import Callable
from importlib.resources import files
from ipaddress import ip_address
from typing import Any, NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_contracts import keys

RENEW_EVERY_S = 3.0
RETRY_AFTER_S = 0.5
LOOK_EVERY_S = 0.1
"""Minimum time between two look-ups, so that sids with made-up tags cannot flood Redis."""

_log = structlog.get_logger(__name__)


class _Node(NamedTuple):
    address: str
    until_s: float
    """When its lease expires, on this node's monotonic clock."""


class RedisNodes:
    """`ports.Nodes` on Redis 7, Valkey 8 and later."""

    def __init__(
        self,
        redis: Redis,
        own_tag: str,
        own_address: str | tuple[str, int],
        *,
        lease_s: float,
        remembered_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`own_address` is `host:port`, or the host and port that this node listens on.

        This node remembers others for `remembered_s` after their leases expire. `redis` needs a `socket_timeout`.
        """
        self._redis = redis
        self._own_tag = own_tag
        self._own_address = own_address
        self._lease_s = lease_s
        self._remembered_s = remembered_s
        self._clock = clock
        self._script = redis.register_script(
            (files("gifchat_realtime_gateway.adapters") / "lua" / "nodes.lua").read_text(encoding="utf-8")
        )
        self._nodes: dict[str, _Node] = {}
        self._reached = False
        """Whether Redis answered the last call. While it does not, leases do not expire."""
        self._looked_at_s = clock() - LOOK_EVERY_S
        self._looking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Renew this node's lease, until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(RENEW_EVERY_S if self._reached else RETRY_AFTER_S)

    async def renew(self) -> None:
        """Renew this node's lease once, and refresh the list of nodes."""
        try:
            address = await self._address()
        except OSError as error:
            # The host name of Redis does not resolve at the moment, or there is no route to it.
            _log.warning("own_address_unknown", error=str(error))
            self._reached = False
        else:
            await self._exchange(self._own_tag, address)

    async def address_of(self, tag: str) -> str | None:
        if self._live(tag) is None:
            await self._look()
        return self._live(tag)

    async def remembers(self, tag: str) -> bool:
        if tag not in self._nodes:
            await self._look()
        return tag in self._nodes

    async def release(self) -> None:
        """Release this node's lease at shutdown. Best effort: if Redis is down, the lease expires."""
        try:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zrem(keys.NODE_LEASES, self._own_tag)
            pipeline.hdel(keys.NODE_ADDRESSES, self._own_tag)
            await pipeline.execute()
        except (RedisError, OSError) as error:
            _log.warning("node_not_released", error=str(error))

    async def _address(self) -> str:
        if isinstance(self._own_address, str):
            return self._own_address
        host, port = self._own_address
        if ip_address(host).is_unspecified:
            where = self._redis.connection_pool.connection_kwargs
            host = await _host_towards(str(where.get("host", "localhost")), int(where.get("port", 6379)))
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _live(self, tag: str) -> str | None:
        node = self._nodes.get(tag)
        if node is None or (self._reached and node.until_s <= self._clock()):
            return None
        return node.address

    async def _look(self) -> None:
        """Refresh the list of nodes; concurrent callers share one call."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_soon(), name="look for nodes")
            self._looking.add_done_callback(self._looked)
        await asyncio.shield(self._looking)

    async def _look_soon(self) -> None:
        await asyncio.sleep(max(0.0, self._looked_at_s + LOOK_EVERY_S - self._clock()))
        self._looked_at_s = self._clock()
        await self._exchange("", "")

    def _looked(self, _task: asyncio.Task[None]) -> None:
        self._looking = None

    async def _exchange(self, tag: str, address: str) -> None:
        sent_at_s = self._clock()
        try:
            reply: list[Any] = await self._script(
                [keys.NODE_LEASES, keys.NODE_ADDRESSES],
                [tag, address, round(self._lease_s * 1000), round(self._remembered_s * 1000)],
            )
        except (RedisError, OSError) as error:
            if self._reached:
                _log.warning("nodes_unknown", error=str(error))
            self._reached = False
            return
        if not self._reached:
            # Redis may have restarted empty: give the nodes the time of one lease to register again.
            self._nodes = {
                tag: node._replace(until_s=max(node.until_s, sent_at_s + self._lease_s))
                for tag, node in self._nodes.items()
            }
        self._reached = True
        for found, at, left_ms in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
            self._nodes[found.decode()] = _Node(at.decode(), sent_at_s + int(left_ms) / 1000)
        oldest_s = sent_at_s - self._remembered_s
        self._nodes = {tag: node for tag, node in self._nodes.items() if node.until_s > oldest_s}


async def _host_towards(host: str, port: int) -> str:
    """Return the local address from which this machine reaches `host`.

    Raises:
        OSError: the name does not resolve, or there is no route to `host`.
    """
    family, kind, protocol, _, address = (
        await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    )[0]
    # Connecting a datagram socket sends nothing: the kernel only chooses the route.
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        found: str = probe.getsockname()[0]
    return found
