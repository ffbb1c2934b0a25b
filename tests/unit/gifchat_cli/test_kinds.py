from gifchat_cli.kinds import STOP_ORDER, Kind


def test_every_kind_is_stopped_exactly_once() -> None:
    assert sorted(kind for together in STOP_ORDER for kind in together) == sorted(Kind)


def test_nobody_loses_what_it_needs_before_it_has_stopped() -> None:
    place = {kind: number for number, together in enumerate(STOP_ORDER) for kind in together}
    assert place[Kind.NGINX] < place[Kind.GATEWAY] < place[Kind.ROOMS_API] < place[Kind.VALKEY] < place[Kind.MONGODB]
