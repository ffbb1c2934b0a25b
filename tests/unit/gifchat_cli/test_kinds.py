from gifchat_cli.kinds import STOP_ORDER, Kind


def test_every_kind_stops_exactly_once() -> None:
    assert sorted(kind for together in STOP_ORDER for kind in together) == sorted(Kind)


def test_processes_stop_before_their_dependencies() -> None:
    place = {kind: number for number, together in enumerate(STOP_ORDER) for kind in together}
    assert place[Kind.NGINX] < place[Kind.GATEWAY] < place[Kind.ROOMS_API] < place[Kind.VALKEY] < place[Kind.MONGODB]
