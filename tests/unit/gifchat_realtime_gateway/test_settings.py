import pytest
from pydantic import ValidationError

from gifchat_realtime_gateway.__main__ import main
from gifchat_realtime_gateway.settings import Settings


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PING_INTERVAL", "0"),
        ("PING_TIMEOUT", "0"),
        ("SEAT_GRACE", "-1"),
        ("DRAIN_SECONDS", "-1"),
        ("NODE_NAME", ""),
        ("CLIENT_PACKETS_PER_SECOND", "0"),
        ("CLIENT_PACKETS_AT_ONCE", "0"),
        ("ADDRESS_BYTES_PER_SECOND", "-1"),
        ("OVERSPENDING_SECONDS", "0"),
        ("CONNECTIONS_PER_ADDRESS", "0"),
        ("GUESTS_PER_ADDRESS", "0"),
    ],
)
def test_invalid_values_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError, match=variable.lower()):
        Settings()


def test_the_process_says_in_one_line_why_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "many")
    with pytest.raises(SystemExit):
        main()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("realtime-gateway cannot start: PORT: ")
