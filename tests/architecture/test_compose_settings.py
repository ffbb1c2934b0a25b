"""Compose, `.env.example`, the images and the tests use the same variables with the same defaults."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from gifchat_realtime_gateway.settings import Settings as GatewaySettings
from gifchat_rooms_api.settings import Settings as RoomsApiSettings
from gifchat_testkit.containers import BASE_IMAGES
from gifchat_web.settings import Settings as WebSettings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
COMPOSED: dict[str, Any] = yaml.safe_load(COMPOSE)
USED = dict(re.findall(r"\$\{([A-Z][A-Z_]*):-([^${}]*)", COMPOSE))
EXAMPLE = dict(re.findall(r"(?m)^# ([A-Z][A-Z_]*)=(\S*)", (ROOT / ".env.example").read_text()))


def test_the_example_lists_exactly_the_variables_of_compose() -> None:
    assert EXAMPLE.keys() == USED.keys()


@pytest.mark.parametrize("name", sorted(USED.keys() - {"ALLOWED_ORIGINS"}))  # Its default contains the port.
def test_the_example_shows_the_default(name: str) -> None:
    assert EXAMPLE[name] == USED[name]


OF_THE_IMAGE = {"HOST", "PORT", "NODE_NAME"}
FROM_THE_FOLDER = {"SESSION_SECRETS", "INTERNAL_TOKEN"}
"""Empty by default, so that the services read what the first start created."""
OF_ONE_REPLICA = {"RELAY_ADDRESS"}
"""Each replica detects its own value."""
SERVICES = [("rooms-api", RoomsApiSettings), ("realtime-gateway", GatewaySettings), ("web", WebSettings)]


@pytest.mark.parametrize(("service", "settings"), SERVICES)
def test_compose_has_the_defaults_of_the_settings(
    service: str, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    not_shared = OF_THE_IMAGE | FROM_THE_FOLDER | {"ALLOWED_ORIGINS"}
    shared = {name.upper() for name in settings.model_fields} & USED.keys() - not_shared
    for name in shared:
        monkeypatch.setenv(name, USED[name])
    read = settings()
    assert {name: getattr(read, name.lower()) for name in shared} == {
        name: settings.model_fields[name.lower()].default for name in shared
    }


@pytest.mark.parametrize(("service", "settings"), SERVICES)
def test_compose_passes_every_setting(service: str, settings: type[BaseSettings]) -> None:
    common = COMPOSE[COMPOSE.index("x-settings:") : COMPOSE.index("\nservices:")]
    own = re.split(r"(?m)^  (?=\S)", COMPOSE[COMPOSE.index("\nservices:") :])
    section = common + next(part for part in own if part.startswith(f"{service}:"))
    passed = set(re.findall(r"(?m)^\s+([A-Z][A-Z_]*):", section))
    assert {name.upper() for name in settings.model_fields} - OF_THE_IMAGE - OF_ONE_REPLICA <= passed


def test_compose_has_no_secret_of_its_own() -> None:
    assert {USED[name] for name in FROM_THE_FOLDER} == {""}


@pytest.mark.parametrize(("service", "settings"), SERVICES)
def test_each_service_waits_for_the_secrets_and_cannot_change_them(service: str, settings: type[BaseSettings]) -> None:
    described = COMPOSED["services"][service]
    assert described["depends_on"]["secrets"] == {"condition": "service_completed_successfully"}
    folder = described["environment"]["SECRETS_FOLDER"]
    assert described["volumes"] == [f"secrets:{folder}:ro"]
    dockerfile = (ROOT / described["build"]["dockerfile"]).read_text()
    assert f"install -d -o gifchat -g gifchat -m 0700 {folder}" in dockerfile, "the volume would belong to root"


def test_the_secrets_are_created_where_the_services_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    creator = COMPOSED["services"]["secrets"]
    assert creator["volumes"] == [f"secrets:{creator['environment']['SECRETS_FOLDER']}"]
    *command, script = creator["command"]
    assert command == ["python", "-I"]
    assert f"deploy/docker/{script}" in (ROOT / creator["build"]["dockerfile"]).read_text()

    def run() -> str:
        environment = {"SECRETS_FOLDER": str(tmp_path)}
        command = [sys.executable, "-I", str(ROOT / "deploy/docker" / script)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr

    assert run() == "created session_secrets\ncreated internal_token\n"
    first = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert first.keys() == {"session_secrets", "internal_token"}
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in tmp_path.iterdir())
    assert run() == "", "a second start keeps the secrets"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == first

    # As in a container: every variable of compose that is not set is empty, and the service listens everywhere.
    for name, value in {"HOST": "0.0.0.0", "SESSION_SECRETS": "", "INTERNAL_TOKEN": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SECRETS_FOLDER", str(tmp_path))
    for _service, settings in SERVICES:
        assert settings().model_dump()["session_secrets"] == (first["session_secrets"].strip(),)
    assert RoomsApiSettings().internal_token == first["internal_token"].strip()


@pytest.mark.parametrize("variable", BASE_IMAGES)
def test_base_images_are_the_same_everywhere(variable: str) -> None:
    assert USED[variable] == BASE_IMAGES[variable]
    for dockerfile in [*ROOT.glob("services/*/Dockerfile"), ROOT / "deploy/nginx/Dockerfile"]:
        for default in re.findall(rf"(?m)^ARG {variable}=(\S+)", dockerfile.read_text()):
            assert default == BASE_IMAGES[variable], dockerfile


@pytest.mark.parametrize("dockerfile", sorted(ROOT.glob("services/*/Dockerfile")), ids=lambda path: path.parent.name)
def test_images_install_a_lock_in_two_stages_and_run_without_root(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    lock = f"requirements/{dockerfile.parent.name}.lock"
    assert text.count("FROM ") >= 2, "build in one stage and run in another"
    assert f"--require-hashes -r {lock}" in text
    assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", text), "Kubernetes can only verify a numeric user"
    assert "HEALTHCHECK" in text
    for refused in ("--chmod", "--mount", "curl", "://", "index-url", ":latest"):
        assert refused not in text, refused
