"""`python -m gifchat_rooms_api` as an operator sees it: how it refuses to start, how it logs, how it stops."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gifchat_cli.ports import free_port
from gifchat_contracts import identity

from .conftest import PASSWORD, signed

pytestmark = pytest.mark.servers

COMMAND = [sys.executable, "-m", "gifchat_rooms_api"]
DEADLINE_S = 20.0


def environment(**settings: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **settings}


@contextmanager
def running(log: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            COMMAND, env=environment(PORT=str(port), **settings), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            deadline = time.monotonic() + DEADLINE_S
            while not ready(http):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            yield process, http
    finally:
        process.kill()
        process.wait()


def ready(http: httpx.Client) -> bool:
    try:
        return http.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ENVIRONMENT": "production"}, "SESSION_SECRETS contains the default secret"),
        ({"PORT": "many"}, "PORT: Input should be a valid integer"),
        ({"FORWARDED_ALLOW_IPS": "*"}, "FORWARDED_ALLOW_IPS must name the proxies"),
    ],
)
def test_a_wrong_setting_is_reported_in_one_sentence(settings: dict[str, str], sentence: str) -> None:
    done = subprocess.run(
        COMMAND, env=environment(**settings), capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert done.returncode == 2
    assert done.stderr.startswith("rooms-api cannot start: ")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_process_serves_logs_json_and_stops_with_success(
    mongo_url: str, mongo_database: str, valkey: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    settings = {"MONGO_URL": mongo_url, "MONGO_DATABASE": mongo_database, "REDIS_URL": valkey, "NODE_NAME": "api-7"}
    with running(log, **settings) as (process, http):
        cookies = {"cookie": f"{identity.SESSION_COOKIE}={signed(identity.SESSION_SALT, 'anne')}"}
        made = http.post("/api/v1/rooms", json={"title": "a room", "password": PASSWORD}, headers=cookies)
        assert made.status_code == 201
        url = f"/api/v1/rooms/{made.json()['_id']}/tickets"
        assert http.post(url, json={"password": PASSWORD}, headers=cookies).status_code == 201
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert time.monotonic() - begun < 8.0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["node"] for line in lines} == {"api-7"}
    assert [line["event"] for line in lines if line["logger"].startswith("gifchat_rooms_api.app")] == [
        "started",
        "stopped",
    ]
    assert PASSWORD not in log.read_text()


def test_the_server_sends_no_body_after_the_head(
    mongo_url: str, mongo_database: str, valkey: str, tmp_path: Path
) -> None:
    settings = {"MONGO_URL": mongo_url, "MONGO_DATABASE": mongo_database, "REDIS_URL": valkey}
    with running(tmp_path / "log", **settings) as (_process, http):
        for _ in range(3):
            head, got = http.head("/api/v1/openapi.json"), http.get("/api/v1/openapi.json")
            assert (head.status_code, head.content, got.status_code) == (200, b"", 200)
            head, got = http.head("/api/v1/rooms"), http.get("/api/v1/rooms")
            assert (head.status_code, head.content, got.json()["next_cursor"]) == (200, b"", None)
            assert head.headers["content-length"] == got.headers["content-length"]
