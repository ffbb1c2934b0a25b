"""Describes an embedded cluster: the port, command and environment of every process."""

import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gifchat_cli.child import ProcessSpec
from gifchat_cli.data_folder import DataFolder, State
from gifchat_cli.kinds import Kind
from gifchat_cli.ports import LOOPBACK, choose_port, is_free
from gifchat_cli.prerequisites import PrerequisiteError, find_mongod, find_nginx, find_valkey_server
from gifchat_cli.servers.mongod import Mongod
from gifchat_cli.servers.nginx import Nginx
from gifchat_cli.servers.readiness import get_health
from gifchat_cli.servers.valkey import Valkey

NGINX_TEMPLATE = Path(__file__).parents[3] / "deploy" / "nginx" / "nginx.conf.template"
_MAX_FILES = 65_536


@dataclass(frozen=True, slots=True)
class Size:
    """The size of the cluster, from the command line."""

    port: int = 8080
    gateways: int = 3
    rooms_api: int = 2


class Blueprint:
    """Chooses ports and describes the processes. It starts none."""

    def __init__(self, size: Size, folder: DataFolder, state: State, environment: Mapping[str, str]) -> None:
        """Find the servers and choose ports, if possible those of the last run.

        Raises:
            PrerequisiteError: a server or nginx's template is missing, the public port cannot be used, or LOG_ADDRESSES
                has an unknown value.
        """
        mongod, valkey_server, nginx = find_mongod(), find_valkey_server(), find_nginx()
        if not NGINX_TEMPLATE.is_file():
            raise PrerequisiteError(f"{NGINX_TEMPLATE} is missing: run `gifchat` from a checkout of the repository.")
        self._ipv6 = is_free(0, "::1")
        _check_public_port(size.port, self._ipv6)
        self._state = state
        self._environment = dict(environment)
        self.size = size
        self.mongod = Mongod(mongod, self._port("mongod"), folder.mongo)
        self.valkey = Valkey(valkey_server, self._port("valkey"), folder.valkey)
        self.nginx = Nginx(
            binary=nginx,
            template=NGINX_TEMPLATE,
            port=size.port,
            internal_port=self._port("nginx-internal"),
            work_dir=folder.nginx,
            access_log=folder.log("nginx-access"),
            max_files=raise_file_limit(),
            ipv6=self._ipv6,
            log_networks=_logs_networks(environment),
        )

    @property
    def url(self) -> str:
        """The address for browsers."""
        return f"http://localhost:{self.size.port}"

    def stores(self) -> list[ProcessSpec]:
        """Describe MongoDB and Valkey, which start first because all services need them."""
        mongod, valkey = self.mongod, self.valkey
        return [
            ProcessSpec(
                name="mongod",
                kind=Kind.MONGODB,
                port=mongod.port,
                command=mongod.command(),
                env=self._environment,
                probe=lambda: mongod.make_primary(timeout_s=1.0),
                stop_timeout_s=30.0,
            ),
            ProcessSpec(
                name="valkey",
                kind=Kind.VALKEY,
                port=valkey.port,
                command=valkey.command(),
                env=self._environment,
                probe=lambda: valkey.wait_until_ready(timeout_s=0.0),
            ),
        ]

    def rooms_api(self, number: int) -> ProcessSpec:
        """Describe replica `number` of rooms-api, from 1."""
        return self._service(
            f"rooms-api-{number}",
            Kind.ROOMS_API,
            "gifchat_rooms_api",
            {"MONGO_URL": self.mongod.url, "MONGO_DATABASE": "gifchat", "REDIS_URL": self.valkey.url},
        )

    def web(self) -> ProcessSpec:
        """Describe the process that serves the pages."""
        return self._service(
            "web",
            Kind.WEB,
            "gifchat_web",
            {"ROOMS_API_URL": self.nginx.internal_url, "REDIS_URL": self.valkey.url, "SECURE_COOKIES": "false"},
        )

    def gateway(self, number: int) -> ProcessSpec:
        """Describe gateway `number`, from 1. Its stop timeout is long, because it moves its sockets away first."""
        return self._service(
            f"gateway-{number}",
            Kind.GATEWAY,
            "gifchat_realtime_gateway",
            {"ROOMS_API_URL": self.nginx.internal_url, "REDIS_URL": self.valkey.url},
            stop_timeout_s=40.0,
        )

    def front_door(self) -> ProcessSpec:
        """Describe nginx. Its configuration must be written before it starts."""
        port = self.nginx.internal_port
        return ProcessSpec(
            name="nginx",
            kind=Kind.NGINX,
            port=self.size.port,
            command=self.nginx.command(),
            env=self._environment,
            probe=lambda: get_health(port, "/health/live"),
        )

    def _service(
        self, name: str, kind: Kind, module: str, env: Mapping[str, str], stop_timeout_s: float = 15.0
    ) -> ProcessSpec:
        port = self._port(name)
        origins = [f"http://{host}:{self.size.port}" for host in ("localhost", LOOPBACK, "[::1]")]
        common = {
            "HOST": LOOPBACK,
            "PORT": str(port),
            "NODE_NAME": name,
            "LOG_FORMAT": "console",
            "ENVIRONMENT": "development",
            "SESSION_SECRETS": self._state.session_secrets,
            "INTERNAL_TOKEN": self._state.internal_token,
            "ALLOWED_ORIGINS": ",".join(origins),
            "FORWARDED_ALLOW_IPS": LOOPBACK,
            "PYTHONUNBUFFERED": "1",
        }
        return ProcessSpec(
            name=name,
            kind=kind,
            port=port,
            command=[sys.executable, "-m", module],
            env={**self._environment, **common, **env},
            probe=lambda: get_health(port),
            stop_timeout_s=stop_timeout_s,
        )

    def _port(self, name: str) -> int:
        ports = self._state.ports
        others = [port for other, port in ports.items() if other != name]
        ports[name] = choose_port(ports.get(name), [*others, self.size.port])
        return ports[name]


def _logs_networks(environment: Mapping[str, str]) -> bool:
    addresses = environment.get("LOG_ADDRESSES", "full")
    if addresses not in ("full", "network"):
        raise PrerequisiteError(f"LOG_ADDRESSES is {addresses}: set it to `full` or `network`.")
    return addresses == "network"


def _check_public_port(port: int, ipv6: bool) -> None:
    hosts = [LOOPBACK, "::1"] if ipv6 else [LOOPBACK]
    if all(is_free(port, host) for host in hosts):
        return
    if port < 1024 and os.geteuid() != 0:
        raise PrerequisiteError(f"Port {port} needs root: choose one above 1023, for example `make up PORT=8080`.")
    raise PrerequisiteError(
        f"Another program uses port {port}: choose another port, for example `make up PORT={port + 1}` "
        f"(or `gifchat up --port {port + 1}`)."
    )


def raise_file_limit() -> int:
    """Raise the open-file limit of this process and its children, to at most 65536.

    Returns:
        The number of files that each process may open, at most 65536.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
