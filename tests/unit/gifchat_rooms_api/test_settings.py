import pytest
from pydantic import ValidationError

from gifchat_contracts.identity import DEVELOPMENT_SECRET
from gifchat_rooms_api.settings import DEVELOPMENT_TOKEN, Settings

SAFE = {"ENVIRONMENT": "production", "SESSION_SECRETS": "one,two", "INTERNAL_TOKEN": "three"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def of(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_the_defaults_are_for_development() -> None:
    settings = Settings()
    assert settings.environment == "development"
    assert settings.session_secrets == (DEVELOPMENT_SECRET,)


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = of(monkeypatch, {"SESSION_SECRETS": " old , new,", "ALLOWED_ORIGINS": "https://a.example"})
    assert settings.session_secrets == ("old", "new")
    assert settings.allowed_origins == ("https://a.example",)


def test_production_starts_with_its_own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of(monkeypatch, SAFE).environment == "production"


@pytest.mark.parametrize(
    "unsafe",
    [
        {"SESSION_SECRETS": DEVELOPMENT_SECRET},
        {"SESSION_SECRETS": f"one,{DEVELOPMENT_SECRET}"},
        {"SESSION_SECRETS": " , "},
        {"INTERNAL_TOKEN": DEVELOPMENT_TOKEN},
        {"FORWARDED_ALLOW_IPS": "127.0.0.1,*"},
        {"EMPTY_ROOM_TTL": "-1"},
        {"PORT": "70000"},
    ],
)
def test_unsafe_or_invalid_settings_are_refused(monkeypatch: pytest.MonkeyPatch, unsafe: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        of(monkeypatch, SAFE | unsafe)
