"""What kinds of processes a cluster is made of."""

from enum import StrEnum


class Kind(StrEnum):
    """The kind of a process, as the status shows it."""

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
"""Who is stopped together; nobody loses what it needs before it has stopped itself."""

SCALABLE = {"gateways": Kind.GATEWAY, "rooms-api": Kind.ROOMS_API}
"""What `gifchat scale` takes."""
