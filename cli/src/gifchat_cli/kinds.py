"""The kinds of processes in a cluster."""

from enum import StrEnum


class Kind(StrEnum):
    """A kind of process, as `gifchat status` shows it."""

    MONGODB = "mongodb"
    VALKEY = "valkey"
    ROOMS_API = "rooms-api"
    WEB = "web"
    GATEWAY = "gateway"
    NGINX = "nginx"


STOP_ORDER: tuple[frozenset[Kind], ...] = (
    frozenset({Kind.NGINX}),
    frozenset({Kind.WEB, Kind.GATEWAY}),
    frozenset({Kind.ROOMS_API}),
    frozenset({Kind.VALKEY}),
    frozenset({Kind.MONGODB}),
)
"""Groups of kinds that stop together, in this order, so that a process stops before those that it depends on."""

SCALABLE = {"gateways": Kind.GATEWAY, "rooms-api": Kind.ROOMS_API}
"""The kinds that `gifchat scale` accepts."""
