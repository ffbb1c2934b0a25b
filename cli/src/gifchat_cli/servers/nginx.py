"""nginx, the front door: its configuration rendered from the one template in `deploy/nginx/`."""

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gifchat_cli.ports import LOOPBACK

_PLACEHOLDER = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


def render(template: str, values: Mapping[str, str]) -> str:
    """Replace each `${NAME}` with its value; nginx's own `$variables` stay.

    Raises:
        ValueError: the template has a placeholder without a value, or a value has no placeholder.
    """
    named = set(_PLACEHOLDER.findall(template))
    if missing := sorted(named - values.keys()):
        raise ValueError(f"the template asks for {', '.join(missing)}")
    if unknown := sorted(values.keys() - named):
        raise ValueError(f"the template does not know {', '.join(unknown)}")
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The loopback ports of each service. nginx needs at least one of each."""

    gateways: Sequence[int]
    rooms_api: Sequence[int]
    web: Sequence[int]


@dataclass(frozen=True, slots=True)
class Nginx:
    """One nginx whose files all live in `work_dir`; it needs no root."""

    binary: Path
    template: Path
    port: int
    internal_port: int
    work_dir: Path
    access_log: Path
    max_files: int
    """The open-file limit."""
    ipv6: bool
    """Whether to listen on `::1` too."""
    log_networks: bool = False
    """Whether the access log has each client's network instead of its address."""

    @property
    def config(self) -> Path:
        """The path of the configuration."""
        return self.work_dir / "nginx.conf"

    @property
    def internal_url(self) -> str:
        """The address of rooms-api for the services."""
        return f"http://{LOOPBACK}:{self.internal_port}"

    def command(self) -> list[str]:
        """Return the command line. nginx stays in the foreground, so that it can be supervised.

        If root starts nginx, its workers run as root too, because only root can then open the data folder.
        """
        user = f" user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        return [str(self.binary), "-p", str(self.work_dir), "-c", str(self.config), "-g", f"daemon off;{user}"]

    def check_command(self) -> list[str]:
        """Return the command line that only checks the configuration."""
        return [str(self.binary), "-t", "-q", "-p", str(self.work_dir), "-c", str(self.config)]

    def write_config(self, upstreams: Upstreams) -> None:
        """Render the template for `upstreams`, and create the folders that it names."""
        for folder in ("temp", "cache"):
            (self.work_dir / folder).mkdir(parents=True, exist_ok=True)
        draft = self.config.with_suffix(".new")
        draft.write_text(render(self.template.read_text(), self.values(upstreams)))
        draft.replace(self.config)  # An earlier reload may still be reading the file.

    def values(self, upstreams: Upstreams) -> dict[str, str]:
        """Return a value for every placeholder of the template."""
        listen = [f"listen {LOOPBACK}:{self.port} backlog=4096;"]
        if self.ipv6:
            listen.append(f"listen [::1]:{self.port} backlog=4096;")
        return {
            "WORKER_PROCESSES": "2",
            "WORKER_FILES": str(self.max_files),
            "WORKER_CONNECTIONS": str(min(16_384, max(512, self.max_files - 64))),
            # After a reload, old workers keep their open connections for up to a day.
            "WORKER_SHUTDOWN_TIMEOUT": "24h",
            "RUN_DIR": str(self.work_dir),
            "TEMP_DIR": str(self.work_dir / "temp"),
            "CACHE_DIR": str(self.work_dir / "cache"),
            "ACCESS_LOG": str(self.access_log),
            "LOGGED_ADDRESS": "$remote_network" if self.log_networks else "$remote_addr",
            "RESOLVER": "",
            "REAL_IP": "",
            "LISTEN": " ".join(listen),
            "INTERNAL_LISTEN": f"listen {LOOPBACK}:{self.internal_port} backlog=4096;",
            "GATEWAY_SERVERS": _servers(upstreams.gateways, "max_fails=0"),
            "ROOMS_API_SERVERS": _servers(upstreams.rooms_api),
            "WEB_SERVERS": _servers(upstreams.web),
            "REQUESTS_PER_SECOND": "1000",
            "REQUESTS_BURST": "4000",
            "UPLOADS_PER_SECOND": "10",
            "UPLOADS_BURST": "200",
            "CONNECTIONS_PER_ADDRESS": "20000",
            "SENDERS_PER_ADDRESS": "20000",
            "CHUNKED_BODIES": "500",
            "GIF_BODY_MAX": "10304k",
        }


def _servers(ports: Sequence[int], failures: str = "max_fails=2 fail_timeout=2s") -> str:
    return " ".join(f"server {LOOPBACK}:{port} {failures};" for port in ports)
