"""nginx as a plain load balancer: it sends every request to a random server, without any affinity."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gifchat_cli.ports import LOOPBACK, free_port
from gifchat_cli.prerequisites import find_nginx
from gifchat_cli.servers.readiness import NotReadyError, get_health
from gifchat_testkit.servers import running

READY_WITHIN_S = 15.0
_CONFIG = """
worker_processes 1;
pid {work_dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {work_dir}/body;
    proxy_temp_path {work_dir}/proxy;
    fastcgi_temp_path {work_dir}/fastcgi;
    uwsgi_temp_path {work_dir}/uwsgi;
    scgi_temp_path {work_dir}/scgi;
    map $http_upgrade $connection_header {{ default upgrade; "" ""; }}
    upstream gateways {{
        random;
        {servers}
    }}
    server {{
        listen {host}:{port} backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_header;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_buffering off;
        proxy_connect_timeout 1s;
        proxy_read_timeout 120s;
        proxy_next_upstream error timeout http_503;
        location = /health/ready {{ return 200 "ok\\n"; }}
        location {location} {{ proxy_pass http://gateways; }}
        {more}
    }}
}}
"""


@contextmanager
def plain_balancer(
    gateways: Sequence[int], work_dir: Path, *, port: int | None = None, location: str = "/", more: str = ""
) -> Iterator[str]:
    """Balance `location` over these loopback ports until the block ends; yields the URL.

    It listens on `port`, or on a free port. `more` is added unchanged to the server's configuration.
    """
    if port is None:
        port = free_port()
    folder = work_dir / f"balancer-{port}"
    folder.mkdir()
    servers = " ".join(f"server {LOOPBACK}:{gateway} max_fails=0;" for gateway in gateways)
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(work_dir=folder, servers=servers, host=LOOPBACK, port=port, location=location, more=more)
    )
    command = [str(find_nginx()), "-p", str(folder), "-c", str(config), "-e", "stderr", "-g", "daemon off;"]
    with running("nginx", command, folder, lambda: _wait(port)):
        yield f"http://{LOOPBACK}:{port}"


def _wait(port: int) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            get_health(port)
        except NotReadyError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        else:
            return
