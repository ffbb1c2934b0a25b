"""What the environment says about this process."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gifchat_contracts.identity import DEVELOPMENT_SECRET

DEVELOPMENT_TOKEN = "development-only-internal-token"  # noqa: S105 - refused in production

CommaList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Environment variables of rooms-api; names are the fields' in capitals."""

    model_config = SettingsConfigDict(frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8001, ge=0, le=65_535, description="Port to listen on.")
    node_name: str = Field(default="rooms-api", description="Name of this process in logs.")
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
        default=DEVELOPMENT_TOKEN, min_length=1, description="What other services of the system prove themselves with."
    )
    allowed_origins: CommaList = Field(
        default=("http://localhost:8080", "http://127.0.0.1:8080"),
        description="Comma-separated origins whose pages may change something, compared to the letter.",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1", description="Proxies whose X-Forwarded-For is believed, comma-separated; never `*`."
    )
    mongo_url: str = Field(
        default="mongodb://127.0.0.1:27017/?replicaSet=rs0", description="MongoDB: a replica set, be it of one node."
    )
    mongo_database: str = Field(default="gifchat", min_length=1, description="Name of the database.")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Redis 7, Valkey 8, or later.")
    empty_room_ttl: float = Field(
        default=300.0, ge=0, description="Seconds that a room may stay empty before it is removed; 0 keeps it for ever."
    )
    unreferenced_gif_ttl: float = Field(
        default=3_600.0, ge=0, description="Seconds after which an uploaded GIF that no message shows is removed."
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
        if self.environment == "production" and DEVELOPMENT_SECRET in self.session_secrets:
            raise ValueError("SESSION_SECRETS holds the default secret, which production refuses: set one of your own.")
        if self.environment == "production" and self.internal_token == DEVELOPMENT_TOKEN:
            raise ValueError("INTERNAL_TOKEN is the default, which production refuses: set one of your own.")
        if "*" in self.forwarded_allow_ips:
            raise ValueError("FORWARDED_ALLOW_IPS must name the proxies: with `*` clients could choose their address.")
        return self
