"""Settings of realtime-gateway, read from environment variables."""

from pydantic import Field

from gifchat_chassis.settings import InternalSettings, Port
from gifchat_contracts import limits


class Settings(InternalSettings):
    """Environment variables of realtime-gateway."""

    port: Port = 8002
    node_name: str = Field(
        default="gateway", min_length=1, description="Name of this process in logs; its node id starts with it."
    )
    relay_address: str = Field(
        default="",
        description="host:port at which other gateways reach this one. By default HOST and PORT. If HOST is a "
        "wildcard, the address from which this machine reaches Redis replaces it.",
    )
    rooms_api_url: str = Field(default="http://127.0.0.1:8001", description="Base URL of rooms-api.")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="URL of Redis 7, Valkey 8, or later.")
    ping_interval: float = Field(default=25.0, gt=0, description="Seconds between two Engine.IO pings.")
    ping_timeout: float = Field(default=20.0, gt=0, description="Seconds that a client has to answer a ping.")
    message_deflate: bool = Field(
        default=False,
        description="Compress a room's events once for all clients that support it: less traffic, more CPU time.",
    )
    seat_grace: float = Field(
        default=limits.SEAT_GRACE_S, ge=0, description="Seconds that a seat is held for a user who disconnected."
    )
    drain_seconds: float = Field(
        default=3.0, ge=0, description="On SIGTERM the gateway moves its sockets away over this many seconds."
    )
