from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN
from gifchat_chassis.settings import InternalSettings, NodeName, Port, ServiceSettings, load_settings
from gifchat_contracts.identity import DEVELOPMENT_SECRET

STRONG = {"SESSION_SECRETS": f"{'one':x<32},{'two':x<32}", "INTERNAL_TOKEN": f"{'token':x<32}"}
OWN = STRONG | {"ENVIRONMENT": "production"}
SHORT = "x" * 31


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
    monkeypatch.setenv("SESSION_SECRETS", STRONG["SESSION_SECRETS"])
    assert PlainSettings().environment == "production"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        (OWN | {"SESSION_SECRETS": DEVELOPMENT_SECRET}, "SESSION_SECRETS"),
        (OWN | {"SESSION_SECRETS": f"{DEVELOPMENT_SECRET},{STRONG['SESSION_SECRETS']}"}, "SESSION_SECRETS"),
        (OWN | {"SESSION_SECRETS": f"{STRONG['SESSION_SECRETS']},{SHORT}"}, "SESSION_SECRETS has fewer than 32"),
        (OWN | {"INTERNAL_TOKEN": SHORT}, "INTERNAL_TOKEN has fewer than 32"),
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


OFF_LOOPBACK = ["0.0.0.0", "", "::", "192.0.2.1", "::ffff:192.0.2.1", "gateway.example", "127.0.0.1.example"]


@pytest.mark.parametrize("host", OFF_LOOPBACK)
@pytest.mark.parametrize("environment", ["development", "production"])
@pytest.mark.parametrize(
    "weak",
    [
        {"SESSION_SECRETS": DEVELOPMENT_SECRET},
        {"SESSION_SECRETS": SHORT},
        {"SESSION_SECRETS": f"{SHORT},{STRONG['SESSION_SECRETS']}"},
        {"INTERNAL_TOKEN": DEVELOPMENT_TOKEN},
        {"INTERNAL_TOKEN": SHORT},
    ],
)
def test_a_listener_off_loopback_refuses_weak_secrets(
    monkeypatch: pytest.MonkeyPatch, host: str, environment: str, weak: dict[str, str]
) -> None:
    [name] = weak
    with pytest.raises(ValidationError, match=name):
        settings(monkeypatch, **{**STRONG, "HOST": host, "ENVIRONMENT": environment, **weak})


@pytest.mark.parametrize("host", OFF_LOOPBACK)
def test_a_listener_off_loopback_takes_strong_secrets(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert list(settings(monkeypatch, HOST=host, **STRONG).weak_secrets()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost"])
def test_on_loopback_weak_secrets_are_named_and_allowed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert list(settings(monkeypatch, HOST=host, SESSION_SECRETS=SHORT).weak_secrets()) == [
        "SESSION_SECRETS has fewer than 32 characters",
        "INTERNAL_TOKEN contains the default secret",
    ]


def test_unset_and_empty_secrets_come_from_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SESSION_SECRETS", "INTERNAL_TOKEN"):
        (tmp_path / name.lower()).write_text(STRONG[name] + "\n")
    own = "y" * 32
    read = settings(monkeypatch, SECRETS_FOLDER=str(tmp_path), SESSION_SECRETS="", HOST="0.0.0.0")
    assert read.session_secrets == tuple(STRONG["SESSION_SECRETS"].split(","))
    assert read.internal_token == STRONG["INTERNAL_TOKEN"]
    assert settings(monkeypatch, SESSION_SECRETS=own, INTERNAL_TOKEN=own).session_secrets == (own,)


def test_a_service_without_internal_endpoints_reads_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "session_secrets").write_text(STRONG["SESSION_SECRETS"])
    monkeypatch.setenv("SECRETS_FOLDER", str(tmp_path))
    assert list(PlainSettings().weak_secrets()) == []


@pytest.mark.parametrize(("content", "problem"), [(None, "has no secret"), ("\n", "has no secret"), ("folder", "read")])
def test_a_folder_without_a_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, problem: str
) -> None:
    if content == "folder":
        (tmp_path / "internal_token").mkdir()
    elif content is not None:
        (tmp_path / "internal_token").write_text(content)
    with pytest.raises(ValidationError, match=problem):
        settings(
            monkeypatch, SECRETS_FOLDER=str(tmp_path), SESSION_SECRETS=STRONG["SESSION_SECRETS"], INTERNAL_TOKEN=""
        )


EVERYBODY = [
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/1",
    "0.0.0.0/1,128.0.0.0/1",
    "127.0.0.1,0.0.0.0/0",
    "10.0.0.0/8,11.0.0.0/8",
    "::ffff:0:0/96",
    "::/16",
    "2000::/3",
]


@pytest.mark.parametrize("proxies", EVERYBODY)
def test_production_refuses_to_trust_a_large_part_of_the_internet(
    monkeypatch: pytest.MonkeyPatch, proxies: str
) -> None:
    with pytest.raises(ValidationError, match="FORWARDED_ALLOW_IPS trusts"):
        settings(monkeypatch, **OWN, FORWARDED_ALLOW_IPS=proxies)
    assert settings(monkeypatch, ENVIRONMENT="development").forwarded_allow_ips == proxies


@pytest.mark.parametrize(
    "proxies",
    [
        "127.0.0.1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
        "fc00::/7",
        "::ffff:10.0.0.0/104",
        "104.16.0.0/13,2400:cb00::/32",
    ],
)
def test_production_trusts_the_networks_of_proxies(monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    assert settings(monkeypatch, **OWN, FORWARDED_ALLOW_IPS=proxies).forwarded_allow_ips == proxies


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
