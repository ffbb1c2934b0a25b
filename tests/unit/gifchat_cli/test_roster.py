from pathlib import Path

import pytest

from gifchat_cli.child import Child, ProcessSpec
from gifchat_cli.control import RefusedError
from gifchat_cli.kinds import Kind
from gifchat_cli.roster import Roster, number_of


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    """Two gateways, two replicas of rooms-api, and one web service. None of them is started."""
    roster = Roster()
    names = {"rooms-api": Kind.ROOMS_API, "web": Kind.WEB, "gateway": Kind.GATEWAY}
    for port, name in enumerate(["gateway-2", "gateway-1", "rooms-api-1", "rooms-api-2", "web"]):
        kind = names[name.rstrip("-12")]
        spec = ProcessSpec(name=name, kind=kind, port=port, command=["true"], probe=lambda: None, env={})
        roster.children[name] = Child(
            spec,
            tmp_path / f"{name}.log",
            on_line=lambda *_: None,
            on_event=lambda _: None,
            on_ready=lambda _: None,
            on_crash_loop=lambda _: False,
        )
    return roster


def test_nginx_routes_to_all_but_drained_and_looping_processes(roster: Roster) -> None:
    roster.drained.add("gateway-1")
    roster.looping.add("rooms-api-2")
    assert [spec.name for spec in roster.routed(exclude={"web"})] == ["gateway-2", "rooms-api-1"]
    assert roster.show("gateway-1")
    assert not roster.show("gateway-1")
    assert {spec.name for spec in roster.routed()} == {"gateway-1", "gateway-2", "rooms-api-1", "web"}


def test_a_hidden_process_does_not_serve(roster: Roster) -> None:
    assert roster.others_serve("gateway-1")
    roster.looping.add("gateway-2")
    assert not roster.others_serve("gateway-1")
    assert roster.serving(Kind.GATEWAY)
    roster.drained.add("gateway-1")
    assert not roster.serving(Kind.GATEWAY)


def test_a_kind_names_its_replicas_in_order(roster: Roster) -> None:
    assert roster.named("gateways") == ["gateway-1", "gateway-2"]
    assert roster.named("rooms-api-2") == ["rooms-api-2"]
    with pytest.raises(RefusedError, match="There is no web; there are: gateway-1"):
        roster.named("web")


def test_only_a_healthy_gateway_can_move_its_sockets(roster: Roster) -> None:
    assert roster.gateway("gateway-1").spec.name == "gateway-1"
    roster.looping.add("gateway-1")
    with pytest.raises(RefusedError, match="is in a crash loop"):
        roster.gateway("gateway-1")
    with pytest.raises(RefusedError, match=r"There is no gateway web; gateways: gateway-1, gateway-2\."):
        roster.gateway("web")


def test_a_removed_process_is_forgotten(roster: Roster) -> None:
    roster.drained.add("gateway-1")
    roster.remove(["gateway-1"])
    assert roster.hidden == set()
    assert [child.spec.name for child in roster.of_kind(Kind.GATEWAY)] == ["gateway-2"]


def test_the_number_of_a_process_without_replicas_is_zero(roster: Roster) -> None:
    assert [number_of(roster.children[name]) for name in ("gateway-2", "web")] == [2, 0]
