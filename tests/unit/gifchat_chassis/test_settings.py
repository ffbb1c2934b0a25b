from typing import Any

import pytest
from pydantic import ValidationError

from gifchat_chassis.settings import (
    DEVELOPMENT_TOKEN,
    InternalSettings,
    NodeName,
    Port,
    ServiceSettings,
    load_settings,
)
from gifchat_contracts.identity import DEVELOPMENT_SECRET

OWN = {"SESSION_SECRETS": "one,two", "INTERNAL_TOKEN": "own", "ENVIRONMENT": "production"}


class Settings(InternalSettings):
    port: Port = 8000
    node_name: NodeName = "service"


class PlainSettings(ServiceSettings):
    port: Port = 8000
    node_name: NodeName = "service"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_defaults_are_for_development(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = settings(monkeypatch)
    assert defaults.session_secrets == (DEVELOPMENT_SECRET,)
    assert defaults.environment == "development"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(monkeypatch, SESSION_SECRETS=" one, two ,", ALLOWED_ORIGINS="https://a.example,https://b.example")
    assert given.session_secrets == ("one", "two")
    assert given.allowed_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize("proxies", ["", "127.0.0.1", "::1, 10.0.0.0/8,172.16.0.1/12"])
def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    assert settings(monkeypatch, FORWARDED_ALLOW_IPS=proxies).forwarded_allow_ips == proxies


def test_production_starts_with_its_own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, **OWN).environment == "production"


def test_a_service_without_internal_endpoints_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SESSION_SECRETS", "own")
    assert PlainSettings().environment == "production"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        (OWN | {"SESSION_SECRETS": DEVELOPMENT_SECRET}, "SESSION_SECRETS"),
        (OWN | {"SESSION_SECRETS": f"{DEVELOPMENT_SECRET},two"}, "SESSION_SECRETS"),
        (OWN | {"INTERNAL_TOKEN": DEVELOPMENT_TOKEN}, "INTERNAL_TOKEN"),
        ({"INTERNAL_TOKEN": ""}, "internal_token"),
        ({"SESSION_SECRETS": " , "}, "SESSION_SECRETS"),
        ({"ALLOWED_ORIGINS": ""}, "ALLOWED_ORIGINS"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS"),
        ({"ALLOWED_ORIGINS": "https://a.example,*"}, "ALLOWED_ORIGINS"),
        ({"FORWARDED_ALLOW_IPS": "*"}, "FORWARDED_ALLOW_IPS"),
        ({"FORWARDED_ALLOW_IPS": "127.0.0.1, *"}, "FORWARDED_ALLOW_IPS"),
        ({"FORWARDED_ALLOW_IPS": "127.0.0.1, nginx"}, "FORWARDED_ALLOW_IPS"),
        ({"PORT": "70000"}, "port"),
        ({"NODE_NAME": ""}, "node_name"),
        ({"LOG_LEVEL": "loud"}, "log_level"),
        ({"LOG_FORMAT": "xml"}, "log_format"),
    ],
)
def test_unsafe_and_invalid_values_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        settings(monkeypatch, **environment)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PORT": "many"}, "web cannot start: PORT: Input should be a valid integer"),
        ({"SESSION_SECRETS": ""}, "web cannot start: SESSION_SECRETS is empty"),
    ],
)
def test_an_invalid_environment_is_reported_in_one_line_with_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: dict[str, str], sentence: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit_:
        load_settings("web", Settings)
    assert exit_.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(sentence)
