import pytest
from pydantic import ValidationError

from gifchat_rooms_api.settings import Settings


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_no_address_may_take_every_upload_slot() -> None:
    assert Settings(uploads_in_flight=9).uploads_in_flight_per_address == 8
    with pytest.raises(ValidationError, match="UPLOADS_IN_FLIGHT_PER_ADDRESS"):
        Settings(uploads_in_flight=8)


@pytest.mark.parametrize(("variable", "value"), [("EMPTY_ROOM_TTL", "-1"), ("MONGO_DATABASE", ""), ("PORT", "70000")])
def test_invalid_values_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError, match=variable.lower()):
        Settings()
