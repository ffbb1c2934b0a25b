"""What the environment says about this process."""

from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gifchat_contracts import limits
from gifchat_contracts.identity import DEVELOPMENT_SECRET

DEVELOPMENT_TOKEN = "development-only-internal-token"  # noqa: S105 - refused in production

CommaList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Environment variables of realtime-gateway; names are the fields' in capitals."""

    model_config = SettingsConfigDict(frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8002, ge=0, le=65_535, description="Port to listen on.")
    node_name: str = Field(
        default="gateway", min_length=1, description="Name of this process in logs; its node id starts with it."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["console", "json"] = Field(
        default="json", description="Logs for people, or one JSON object a line."
    )
    environment: Literal["development", "production"] = Field(
        default="development", description="In production the service refuses to start with a default secret."
    )
    session_secrets: CommaList = Field(
        default=(DEVELOPMENT_SECRET,),
        description="Comma-separated signing secrets; the last one signs, the earlier ones still verify.",
    )
    internal_token: str = Field(
        default=DEVELOPMENT_TOKEN, min_length=1, description="What this service proves itself to rooms-api with."
    )
    allowed_origins: CommaList = Field(
        default=("http://localhost:8080", "http://127.0.0.1:8080"),
        description="Comma-separated origins whose pages may open sockets, compared to the letter.",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1", description="Proxies whose X-Forwarded-For is believed, comma-separated; never `*`."
    )
    relay_address: str = Field(
        default="",
        description="host:port where other gateways reach this one. Empty: HOST and PORT; a wildcard HOST stands for "
        "the address from which this machine reaches Redis.",
    )
    rooms_api_url: str = Field(default="http://127.0.0.1:8001", description="Where rooms-api is reached.")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Redis 7, Valkey 8, or later.")
    ping_interval: float = Field(default=25.0, gt=0, description="Seconds between two Engine.IO pings.")
    ping_timeout: float = Field(default=20.0, gt=0, description="Seconds that a client has to answer a ping.")
    message_deflate: bool = Field(
        default=False,
        description="Compress a room's events, once for all readers that can read it: less traffic, more CPU time.",
    )
    seat_grace: float = Field(
        default=limits.SEAT_GRACE_S, ge=0, description="Seconds that a seat is held for a user who is away."
    )
    drain_seconds: float = Field(
        default=3.0, ge=0, description="On SIGTERM sockets are moved away, spread over so many seconds."
    )

    @field_validator("session_secrets", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not self.session_secrets:
            raise ValueError("SESSION_SECRETS is empty: give at least one secret.")
        if not self.allowed_origins or "*" in self.allowed_origins:
            raise ValueError("ALLOWED_ORIGINS must name the origins of the pages: an empty list allows all of them.")
        if self.environment == "production" and DEVELOPMENT_SECRET in self.session_secrets:
            raise ValueError("SESSION_SECRETS holds the default secret, which production refuses: set one of your own.")
        if self.environment == "production" and self.internal_token == DEVELOPMENT_TOKEN:
            raise ValueError("INTERNAL_TOKEN is the default, which production refuses: set one of your own.")
        if "*" in self.forwarded_allow_ips:
            raise ValueError("FORWARDED_ALLOW_IPS must name the proxies: with `*` clients could choose their address.")
        try:
            for proxy in filter(None, map(str.strip, self.forwarded_allow_ips.split(","))):
                ip_network(proxy, strict=False)
        except ValueError as error:
            raise ValueError(f"FORWARDED_ALLOW_IPS takes addresses and networks, no names: {error}.") from error
        return self
