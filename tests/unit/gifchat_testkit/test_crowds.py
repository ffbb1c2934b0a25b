"""The settings for a crowd with one address are settings of the services, and cover each bound of an address."""

import pytest

from gifchat_realtime_gateway.settings import Settings
from gifchat_rooms_api.settings import Settings as RoomsApiSettings
from gifchat_testkit.crowds import ONE_ADDRESS, ROOMS_API_FOR_ONE_ADDRESS


def test_a_crowd_with_one_address_is_not_bounded_as_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ONE_ADDRESS.keys() == {name.upper() for name in Settings.model_fields if "address" in name} - {
        "RELAY_ADDRESS",
        "LOG_ADDRESSES",
    }
    usual = Settings().intake_bounds
    for name, value in ONE_ADDRESS.items():
        monkeypatch.setenv(name, value)
    bounds = Settings().intake_bounds
    assert bounds.connections_per_address > 10 * usual.connections_per_address
    assert bounds.guests_per_address > 10 * usual.guests_per_address
    assert bounds.address.packets_per_s > 10 * usual.address.packets_per_s
    assert bounds.address.bytes_per_s > 10 * usual.address.bytes_per_s
    assert bounds.client.packets_per_s == usual.client.packets_per_s


def test_a_crowd_with_one_address_is_not_bounded_in_rooms_api(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name.upper() for name in RoomsApiSettings.model_fields}
    bounds = {name for name in names if "ADDRESS" in name and not name.endswith(("_PER_S", "_PER_SECOND"))}
    bounds.remove("LOG_ADDRESSES")
    assert bounds <= ROOMS_API_FOR_ONE_ADDRESS.keys() <= names
    usual = RoomsApiSettings()
    for name, value in ROOMS_API_FOR_ONE_ADDRESS.items():
        monkeypatch.setenv(name, value)
    raised = RoomsApiSettings()
    for name in ROOMS_API_FOR_ONE_ADDRESS:
        assert getattr(raised, name.lower()) > 10 * getattr(usual, name.lower())
