import pytest
from pydantic import ValidationError

from gifchat_rooms_api.settings import Settings


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_no_address_takes_every_upload_slot() -> None:
    assert Settings().uploads_in_flight_per_address < Settings().uploads_in_flight


@pytest.mark.parametrize(("variable", "value"), [("EMPTY_ROOM_TTL", "-1"), ("MONGO_DATABASE", ""), ("PORT", "70000")])
def test_invalid_values_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError, match=variable.lower()):
        Settings()
