from typing import Any

import pytest
from pydantic import ValidationError

from gifchat_contracts.identity import DEVELOPMENT_SECRET
from gifchat_realtime_gateway.__main__ import main
from gifchat_realtime_gateway.settings import Settings

OWN = {"SESSION_SECRETS": "one,two", "INTERNAL_TOKEN": "own", "ENVIRONMENT": "production"}


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_production_starts_with_secrets_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, **OWN).environment == "production"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        (OWN | {"SESSION_SECRETS": DEVELOPMENT_SECRET}, "SESSION_SECRETS"),
        (OWN | {"SESSION_SECRETS": f"{DEVELOPMENT_SECRET},two"}, "SESSION_SECRETS"),
        (OWN | {"INTERNAL_TOKEN": "development-only-internal-token"}, "INTERNAL_TOKEN"),
        ({"SESSION_SECRETS": " , "}, "SESSION_SECRETS"),
        ({"ALLOWED_ORIGINS": ""}, "ALLOWED_ORIGINS"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS"),
        ({"ALLOWED_ORIGINS": "https://a.example,*"}, "ALLOWED_ORIGINS"),
        ({"FORWARDED_ALLOW_IPS": "*"}, "FORWARDED_ALLOW_IPS"),
        ({"FORWARDED_ALLOW_IPS": "127.0.0.1, *"}, "FORWARDED_ALLOW_IPS"),
        ({"FORWARDED_ALLOW_IPS": "127.0.0.1, nginx"}, "FORWARDED_ALLOW_IPS"),
        ({"PORT": "70000"}, "port"),
        ({"PING_INTERVAL": "0"}, "ping_interval"),
        ({"SEAT_GRACE": "-1"}, "seat_grace"),
        ({"LOG_LEVEL": "loud"}, "log_level"),
    ],
)
def test_what_is_unsafe_or_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        settings(monkeypatch, **environment)


def test_the_process_says_in_one_sentence_why_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "many")
    assert main() == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("realtime-gateway cannot start: PORT: ")
