"""A cluster for fault runs: no process restarts by itself, and proxies stand between the services and the stores."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pymongo import MongoClient

from faults.system.mongod_set import MongodSet, ping
from gifchat_cli.blueprint import NGINX_TEMPLATE, raise_file_limit
from gifchat_cli.ports import LOOPBACK
from gifchat_cli.prerequisites import find_mongod, find_nginx, find_valkey_server
from gifchat_cli.servers.mongod import Mongod
from gifchat_cli.servers.nginx import Nginx, Upstreams
from gifchat_cli.servers.readiness import get_health
from gifchat_cli.servers.valkey import Valkey, mark_as_new
from gifchat_contracts.identity import DEVELOPMENT_SECRET
from gifchat_testkit import affinity
from gifchat_testkit.crowds import ONE_ADDRESS, ROOMS_API_FOR_ONE_ADDRESS
from gifchat_testkit.processes import READY_TIMEOUT_S, ServerProcess, lasting_port
from gifchat_testkit.proxy import TcpProxy
from gifchat_testkit.valkey_set import ValkeySet
from gifchat_testkit.waiting import until

DATABASE = "gifchat"
_ROOT = Path(__file__).parents[2]
"""Where `python -m faults.system.…` finds this package."""
_RELOAD_TIMEOUT_S = 10.0
_WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The parts of a cluster. Rows of equal shape share a cluster."""

    gateways: int = 2
    rooms_api: int = 1
    mongods: Literal[1, 3] = 1
    """1: each rooms-api reaches it through a proxy. 3: a replica set that elects a primary, reached without a proxy."""
    valkeys: Literal[1, 2] = 1
    """2: the second one can become a replica of the first, see `FaultCluster.fail_over`."""
    gateway_env: Mapping[str, str] = field(default_factory=dict)
    """Settings of the gateways, for example `{"PING_INTERVAL": "2"}`."""
    rooms_api_env: Mapping[str, str] = field(default_factory=dict)
    gateway_module: str = "gifchat_realtime_gateway"
    """The module that `python -m` runs; a mutant has its own module."""
    rooms_api_module: str = "gifchat_rooms_api"
    worker_shutdown_timeout: str = "24h"
    """How long nginx's old workers keep their sockets after a reload, in nginx's syntax."""


@dataclass(frozen=True, slots=True)
class Node:
    """One service process, with its own proxies to the stores."""

    process: ServerProcess
    port: int
    redis: TcpProxy
    """The proxy to Valkey."""
    mongo_proxy: TcpProxy | None = None

    @property
    def name(self) -> str:
        """The name, for example `gateway-1` or `rooms-api-1`."""
        return self.process.name

    @property
    def tag(self) -> str:
        """The tag by which nginx knows a gateway; empty before it has started."""
        return affinity.tag_in(self.process.log)

    @property
    def mongo(self) -> TcpProxy:
        """The proxy to MongoDB; only rooms-api has one, and only with a single mongod."""
        assert self.mongo_proxy is not None, f"{self.name} has no proxy in front of MongoDB"
        return self.mongo_proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nginx(Nginx):
    """nginx with a different `worker_shutdown_timeout`."""

    shutdown_timeout: str

    def values(self, upstreams: Upstreams) -> dict[str, str]:
        """See `Nginx.values`."""
        return {**Nginx.values(self, upstreams), "WORKER_SHUTDOWN_TIMEOUT": self.shutdown_timeout}


class FaultCluster:
    """mongod, valkey-server, rooms-api, gateways and nginx as children of this process.

    `async with FaultCluster(Shape(gateways=3)) as cluster:` waits until everything is ready, and leaves nothing behind.

    Break it: `cluster.gateways[0].process.kill()`, `.terminate()`, `.pause()`, `.resume()`, `.restart()`;
    `cluster.gateways[0].redis.stall("down")`, `cluster.rooms_api[0].mongo.cut()`; `cluster.valkey.restart()` (comes
    back empty); `cluster.mongods.step_down()`; `cluster.reload_nginx()`. `cluster.heal()` undoes all of it.
    """

    def __init__(self, shape: Shape | None = None, folder: Path | None = None) -> None:
        """Logs and data are kept in `folder`; without a folder they are removed with the cluster."""
        self.shape = shape or Shape()
        self._temporary = tempfile.TemporaryDirectory(prefix="gifchat-faults-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else Path(folder or ".")
        self._ports: list[int] = []
        self._proxies: list[TcpProxy] = []
        self._nginx_config = self._new_nginx()
        self.url = f"http://{LOOPBACK}:{self._nginx_config.port}"
        """The front door."""
        self.secret = DEVELOPMENT_SECRET
        """The key that signs sessions and memberships."""
        self.internal_token = "fault-suite-internal-token"  # noqa: S105 - only this cluster uses it
        self.valkeys = self._new_valkeys()
        self.mongods = self._new_mongods()
        self.nginx = self._process(
            "nginx",
            self._nginx_config.command(),
            lambda: get_health(self._nginx_config.internal_port, "/health/live"),
            has_children=True,
        )
        self.rooms_api: list[Node] = []
        self.gateways: list[Node] = []

    @property
    def valkey(self) -> ServerProcess:
        """The Valkey that all services use now."""
        return self.valkeys.processes[self.valkeys.used]

    @property
    def valkey_url(self) -> str:
        """The address of that Valkey, without a proxy in between."""
        return self.valkeys.members[self.valkeys.used].url

    @property
    def nodes(self) -> list[Node]:
        """The processes that use the stores: every rooms-api and every gateway."""
        return [*self.rooms_api, *self.gateways]

    @property
    def processes(self) -> list[ServerProcess]:
        """All processes."""
        ours = [node.process for node in self.nodes]
        return [*self.mongods.processes, *self.valkeys.processes, *ours, self.nginx]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            await self._start()
            stack.pop_all()
        return self

    async def __aexit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            error.add_note(self.log_tails())
        await self._stop()

    async def heal(self) -> None:
        """Resume stopped processes, start dead ones, heal every proxy, and wait until all are ready."""
        for process in self.processes:
            process.resume()
        await asyncio.gather(*(proxy.heal() for proxy in self._proxies))
        await asyncio.gather(*(process.start() for process in self.processes))
        await asyncio.to_thread(self.mongods.wait_for_primary, READY_TIMEOUT_S)
        await self._wait_until_ready(self.processes)

    async def fail_over(self) -> None:
        """Make all services use the replica of Valkey (see `ValkeySet.follow`), whether the primary is up or down."""
        await asyncio.to_thread(self.valkeys.promote)
        for node in self.nodes:
            node.redis.target_port = self.valkeys.members[self.valkeys.used].port
            node.redis.cut()

    def gateway_of(self, tag: str) -> str:
        """Return the name of the gateway with this tag, or the tag if no running gateway has it."""
        return next((node.name for node in self.gateways if node.tag == tag), tag)

    async def reload_nginx(self) -> None:
        """Reload nginx and wait until new workers serve; old workers keep their sockets."""
        before = self.nginx_workers()
        self.nginx.send(signal.SIGHUP)
        await until(lambda: len(self.nginx_workers() - before) >= _WORKERS, _RELOAD_TIMEOUT_S, "new workers of nginx")

    def nginx_workers(self) -> set[int]:
        """Return the pids of nginx's running workers, old and new."""
        children = Path(f"/proc/{self.nginx.pid}/task/{self.nginx.pid}/children")
        return {int(pid) for pid in children.read_text().split() if _is_worker(pid)}

    def database(self) -> MongoClient[dict[str, Any]]:
        """Return a MongoDB client that uses no proxy; the caller closes it. Blocks: use it in a thread."""
        return MongoClient(self.mongods.url, tz_aware=True, readConcernLevel="majority")

    def log_tails(self) -> str:
        """The ends of all logs, for a report."""
        return "\n".join(f"--- {process.name}\n{process.log_tail()}" for process in self.processes)

    async def _start(self) -> None:
        raise_file_limit()
        stores = [*self.valkeys.processes, *self.mongods.processes]
        await asyncio.gather(self.valkeys.link.start(), *(process.start() for process in stores))
        self._proxies.append(self.valkeys.link)
        await self._wait_until_ready(self.valkeys.processes)
        await asyncio.to_thread(mark_as_new, self.valkey_url)
        self.rooms_api = [await self._rooms_api(number) for number in range(1, self.shape.rooms_api + 1)]
        self.gateways = [await self._gateway(number) for number in range(1, self.shape.gateways + 1)]
        self._nginx_config.write_config(
            Upstreams(
                gateways=[node.port for node in self.gateways],
                rooms_api=[node.port for node in self.rooms_api],
                web=[self._port()],
            )
        )
        ours = [node.process for node in self.nodes]
        # A driver that connects before the set is initiated would never support sessions.
        await asyncio.to_thread(self.mongods.initiate, READY_TIMEOUT_S)
        await asyncio.gather(self.nginx.start(), *(process.start() for process in ours))
        await self._wait_until_ready([*ours, self.nginx])

    async def _stop(self) -> None:
        await asyncio.gather(*(process.kill() for process in self.processes))
        await asyncio.gather(*(proxy.stop() for proxy in self._proxies))
        if self._temporary is not None:
            await asyncio.to_thread(self._temporary.cleanup)

    @staticmethod
    async def _wait_until_ready(processes: Iterable[ServerProcess]) -> None:
        await asyncio.gather(*(process.wait_until_ready() for process in processes))

    async def _rooms_api(self, number: int) -> Node:
        redis = await self._proxy(self.valkeys.members[self.valkeys.used].port)
        mongo, mongo_url = None, self.mongods.url
        if self.shape.mongods == 1:
            mongo = await self._proxy(self.mongods.members[0].port)
            # A driver that knows the set would connect to its members' addresses and bypass the proxy.
            mongo_url = f"mongodb://{LOOPBACK}:{mongo.port}/?directConnection=true"
        env = {
            "MONGO_URL": mongo_url,
            "MONGO_DATABASE": DATABASE,
            **ROOMS_API_FOR_ONE_ADDRESS,
            **self.shape.rooms_api_env,
        }
        return self._service(f"rooms-api-{number}", self.shape.rooms_api_module, env, redis, mongo)

    async def _gateway(self, number: int) -> Node:
        redis = await self._proxy(self.valkeys.members[self.valkeys.used].port)
        # The rows look for disconnected clients and the reasons in this log.
        own = {"ROOMS_API_URL": self._nginx_config.internal_url, "LOG_LEVEL": "debug"}
        env = {**own, **ONE_ADDRESS, **self.shape.gateway_env}
        return self._service(f"gateway-{number}", self.shape.gateway_module, env, redis, None)

    def _service(self, name: str, module: str, own: Mapping[str, str], redis: TcpProxy, mongo: TcpProxy | None) -> Node:
        port = self._port()
        env = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
            "HOST": LOOPBACK,
            "PORT": str(port),
            "NODE_NAME": name,
            "LOG_FORMAT": "console",
            "ENVIRONMENT": "development",
            "SESSION_SECRETS": self.secret,
            "INTERNAL_TOKEN": self.internal_token,
            "ALLOWED_ORIGINS": self.url,
            "FORWARDED_ALLOW_IPS": LOOPBACK,
            "REDIS_URL": f"redis://{LOOPBACK}:{redis.port}/0",
            "PYTHONUNBUFFERED": "1",
            **own,
        }
        process = self._process(name, [sys.executable, "-m", module], lambda: get_health(port), env)
        return Node(process, port, redis, mongo)

    def _process(self, name: str, command: list[str], probe: Any, env: Any = None, **how: Any) -> ServerProcess:
        return ServerProcess(name, command, self.folder / f"{name}.log", probe, env, **how)

    def _new_valkeys(self) -> ValkeySet:
        members, processes = [], []
        for number in range(1, self.shape.valkeys + 1):
            member = Valkey(find_valkey_server(), self._port(), self.folder)
            members.append(member)
            name = "valkey" if self.shape.valkeys == 1 else f"valkey-{number}"
            processes.append(self._process(name, member.command(), partial(member.wait_until_ready, 0.0)))
        return ValkeySet(members, processes, TcpProxy(members[0].port, port=self._port()))

    def _new_mongods(self) -> MongodSet:
        members, processes = [], []
        for number in range(1, self.shape.mongods + 1):
            data_dir = self.folder / f"mongod-{number}"
            data_dir.mkdir()
            member = Mongod(find_mongod(), self._port(), data_dir)
            members.append(member)
            processes.append(self._process(f"mongod-{number}", member.command(), partial(ping, member.port)))
        return MongodSet(members, processes)

    def _new_nginx(self) -> Nginx:
        (self.folder / "nginx").mkdir(parents=True)
        return _Nginx(
            binary=find_nginx(),
            template=NGINX_TEMPLATE,
            port=self._port(),
            internal_port=self._port(),
            work_dir=self.folder / "nginx",
            access_log=self.folder / "nginx-access.log",
            max_files=4_096,
            ipv6=False,
            shutdown_timeout=self.shape.worker_shutdown_timeout,
        )

    def _port(self) -> int:
        self._ports.append(lasting_port(self._ports))
        return self._ports[-1]

    async def _proxy(self, target_port: int) -> TcpProxy:
        proxy = TcpProxy(target_port, port=self._port())
        await proxy.start()
        self._proxies.append(proxy)
        return proxy


def _is_worker(pid: str) -> bool:
    """Whether this is a worker, and not one of nginx's cache processes."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"nginx: worker process")
    except OSError:
        return False
