"""A real nginx accepts both variants of the template, and the README explains every placeholder."""

import re
import subprocess
from pathlib import Path

import pytest

from gifchat_cli.blueprint import NGINX_TEMPLATE
from gifchat_cli.prerequisites import find_nginx
from gifchat_cli.servers.nginx import Nginx, Upstreams, render
from gifchat_contracts import errors

README = NGINX_TEMPLATE.with_name("README.md")
GATEWAYS = [40_001, 40_002]


def embedded(work_dir: Path) -> Nginx:
    return Nginx(
        binary=find_nginx(),
        template=NGINX_TEMPLATE,
        port=48_080,
        internal_port=48_081,
        work_dir=work_dir,
        access_log=work_dir / "access.log",
        max_files=1_024,
        ipv6=False,
    )


def test_nginx_accepts_the_embedded_variant(tmp_path: Path) -> None:
    nginx = embedded(tmp_path)
    nginx.write_config(Upstreams(gateways=GATEWAYS, rooms_api=[40_003], web=[40_004]))
    check(nginx)
    config = nginx.config.read_text()
    assert all(f"server 127.0.0.1:{port} " in config for port in GATEWAYS)


def test_a_new_configuration_leaves_alone_the_file_that_nginx_is_reading(tmp_path: Path) -> None:
    nginx = embedded(tmp_path)
    nginx.write_config(Upstreams(gateways=GATEWAYS, rooms_api=[40_003], web=[40_004]))
    before = nginx.config.read_text()
    with nginx.config.open() as reader:
        nginx.write_config(Upstreams(gateways=GATEWAYS[:1], rooms_api=[40_003], web=[40_004]))
        assert reader.read() == before
    assert nginx.config.read_text() != before


def test_nginx_accepts_the_container_variant(tmp_path: Path) -> None:
    nginx = embedded(tmp_path)
    nginx.write_config(Upstreams(gateways=GATEWAYS, rooms_api=[40_003], web=[40_004]))
    containers = {
        "WORKER_PROCESSES": "auto",
        "RESOLVER": "resolver 127.0.0.11 valid=2s ipv6=off;",
        "REAL_IP": "set_real_ip_from 203.0.113.0/24; real_ip_header X-Forwarded-For; real_ip_recursive on;",
        "ACCESS_LOG": "/dev/stdout",
        "GATEWAY_SERVERS": "server realtime-gateway:8000 resolve max_fails=0;",
        "ROOMS_API_SERVERS": "server rooms-api:8000 resolve max_fails=2 fail_timeout=2s;",
        "WEB_SERVERS": "server web:8000 resolve max_fails=2 fail_timeout=2s;",
    }
    values = nginx.values(Upstreams(GATEWAYS, [40_003], [40_004])) | containers
    nginx.config.write_text(render(NGINX_TEMPLATE.read_text(), values))
    check(nginx)


def check(nginx: Nginx) -> None:
    answer = subprocess.run(nginx.check_command(), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_the_readme_explains_every_placeholder() -> None:
    placeholders = set(re.findall(r"\$\{([A-Z_]+)\}", NGINX_TEMPLATE.read_text()))
    assert placeholders == {name for name in re.findall(r"`([A-Z_]+)`", README.read_text()) if name != "NAME"}


@pytest.mark.parametrize(
    "code", ["method_not_allowed", "payload_too_large", "gif_too_large", "rate_limited", "unavailable"]
)
def test_errors_made_by_nginx_match_the_contract(code: str) -> None:
    row = errors.TABLE[code]
    expected = (
        f'"title":"{row.text("en")}","status":{row.status},"detail":"{row.text("en")}","code":"{code}",'
        f'"action":"{row.action}","retry":{str(row.retry).lower()}'
    )
    assert f'return {row.status} \'{{"type":"urn:gifchat:error:{code}",{expected}' in NGINX_TEMPLATE.read_text()
