"""Compose, `.env.example`, the images and the tests use the same variables with the same defaults."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from gifchat_contracts.identity import DEVELOPMENT_SECRET
from gifchat_realtime_gateway.settings import Settings as GatewaySettings
from gifchat_rooms_api.settings import Settings as RoomsApiSettings
from gifchat_testkit.containers import BASE_IMAGES
from gifchat_web.settings import Settings as WebSettings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
USED = dict(re.findall(r"\$\{([A-Z][A-Z_]*):-([^${}]*)", COMPOSE))
EXAMPLE = dict(re.findall(r"(?m)^# ([A-Z][A-Z_]*)=(\S*)", (ROOT / ".env.example").read_text()))


def test_the_example_lists_exactly_the_variables_of_compose() -> None:
    assert EXAMPLE.keys() == USED.keys()


@pytest.mark.parametrize("name", sorted(USED.keys() - {"ALLOWED_ORIGINS"}))  # Its default contains the port.
def test_the_example_shows_the_default(name: str) -> None:
    assert EXAMPLE[name] == USED[name]


OF_THE_IMAGE = {"HOST", "PORT", "NODE_NAME"}
OF_ONE_REPLICA = {"RELAY_ADDRESS"}
"""Each replica detects its own value."""
SERVICES = [("rooms-api", RoomsApiSettings), ("realtime-gateway", GatewaySettings), ("web", WebSettings)]


@pytest.mark.parametrize(("service", "settings"), SERVICES)
def test_compose_has_the_defaults_of_the_settings(
    service: str, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {name.upper() for name in settings.model_fields} & USED.keys() - OF_THE_IMAGE - {"ALLOWED_ORIGINS"}
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


def test_production_refuses_the_default_secret_of_compose() -> None:
    assert USED["SESSION_SECRETS"] == DEVELOPMENT_SECRET


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
