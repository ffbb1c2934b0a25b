"""What the three services have in common, as operators and clients see it. All their dependencies are down."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

NOWHERE = {"MONGO_URL": "mongodb://127.0.0.1:1/?replicaSet=rs0", "REDIS_URL": "redis://127.0.0.1:1/0"}
SERVICES = ["rooms-api", "realtime-gateway", "web"]
REFUSED = {"rooms-api": "/api/v1/nothing", "realtime-gateway": "/internal/v1/drain", "web": "/api/v1/nothing"}
"""A path of each service that answers a POST with a problem document."""


def start(service: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"gifchat_{service.replace('-', '_')}"],
        env={"PATH": os.environ["PATH"], "PORT": "0", **NOWHERE, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(service: str) -> Iterator[tuple[httpx.Client, list[str]]]:
    """An HTTP client of the running service, and the lines that the service logged until it listened."""
    with start(service, NODE_NAME="node-7") as process:
        try:
            assert process.stdout
            lines: list[str] = []
            while '"listening"' not in "".join(lines[-1:]):
                lines.append(process.stdout.readline())
                assert lines[-1], "the service does not listen"
            with httpx.Client(base_url=f"http://127.0.0.1:{json.loads(lines[-1])['port']}") as http:
                yield http, lines
        finally:
            process.kill()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("proxies", "sentence"),
    [
        ("nginx", "FORWARDED_ALLOW_IPS takes addresses and networks, not names"),
        ("*", "FORWARDED_ALLOW_IPS must name the proxies"),
    ],
)
def test_every_service_checks_its_proxies(service: str, proxies: str, sentence: str) -> None:
    with start(service, FORWARDED_ALLOW_IPS=proxies) as process:
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    [line] = err.splitlines()
    assert line.startswith(f"{service} cannot start: {sentence}")


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_listens_off_loopback_with_the_default_secret(service: str) -> None:
    with start(service, HOST="0.0.0.0", ENVIRONMENT="development") as process:
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    [line] = err.splitlines()
    assert line.startswith(f"{service} cannot start: SESSION_SECRETS contains the default secret")


@pytest.mark.parametrize("service", SERVICES)
def test_on_loopback_every_service_warns_once_of_default_secrets(service: str) -> None:
    with running(service) as (_http, lines):
        [warning] = [line for line in map(json.loads, lines) if line["event"] == "weak_secrets"]
    assert warning["level"] == "warning"
    assert warning["problems"][0] == "SESSION_SECRETS contains the default secret"


@pytest.mark.parametrize("service", SERVICES)
def test_logs_metrics_and_problems_have_one_shape_in_every_service(service: str) -> None:
    with running(service) as (http, lines):
        assert http.get("/health/live").json() == {"status": "ok"}
        refused = http.post(REFUSED[service])
        metrics = http.get("/metrics").text
    for line in map(json.loads, lines):
        assert line["node"] == "node-7"
        assert {"event", "level", "logger", "timestamp"} <= line.keys()
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == f"urn:gifchat:error:{refused.json()['code']}"
    assert f'http_requests_total{{method="GET",route="/health/live",service="{service}",status="200"}} 1.0' in metrics
    assert f'http_request_seconds_count{{route="/health/live",service="{service}"}} 1.0' in metrics
