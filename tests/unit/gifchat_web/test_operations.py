import subprocess
import sys

import httpx

from gifchat_web.settings import Settings


async def test_probes_answer(alice: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/health/ready"):
        assert (await alice.get(path)).status_code == 200


async def test_requests_are_counted_by_route_and_not_by_path(alice: httpx.AsyncClient) -> None:
    await alice.get("/room/" + "f" * 24, params={"password": "secret"})
    await alice.get("/nowhere/at/all")
    await alice.request("INVENTED", "/")
    text = (await alice.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="/room/{room_id}",service="web",status="302"}' in text
    assert 'route="unmatched"' in text
    assert 'method="other"' in text
    for word in ("nowhere", "secret", "INVENTED", "f" * 24):
        assert word not in text


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_production_with_a_default_secret_says_so_and_does_not_start() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gifchat_web"],
        env={"ENVIRONMENT": "production"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    [sentence] = result.stderr.splitlines()
    assert "SESSION_SECRETS contains the default secret" in sentence


def test_a_requested_stop_exits_with_success() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "gifchat_web"],
        env={"PORT": "0", "LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert any("Application startup complete" in line for line in process.stdout)
        process.terminate()
        assert process.wait(timeout=10) == 0
