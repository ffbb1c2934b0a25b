"""Settings that all services share, and the message for an invalid environment."""

import sys
from collections.abc import Callable
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gifchat_chassis.client_address import trusted_networks
from gifchat_contracts.identity import DEVELOPMENT_SECRET

DEVELOPMENT_TOKEN = "development-only-internal-token"  # noqa: S105 - refused in production

CommaList = Annotated[tuple[str, ...], NoDecode]
Port = Annotated[int, Field(ge=0, le=65_535, description="Port to listen on.")]
NodeName = Annotated[str, Field(min_length=1, description="Name of this process in logs.")]


class ServiceSettings(BaseSettings):
    """Environment variables of every service. Each is named after its field, in capitals."""

    model_config = SettingsConfigDict(frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port
    node_name: NodeName
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Minimum log level.")
    log_format: Literal["console", "json"] = Field(
        default="json", description="`json` writes one JSON object per line; `console` writes readable text."
    )
    environment: Literal["development", "production"] = Field(
        default="development", description="In production the service refuses to start with a default secret."
    )
    session_secrets: CommaList = Field(
        default=(DEVELOPMENT_SECRET,),
        description="Comma-separated signing secrets; the last one signs, the earlier ones still verify.",
    )
    allowed_origins: CommaList = Field(
        default=("http://localhost:8080", "http://127.0.0.1:8080"),
        description="Comma-separated origins whose pages may open sockets and change state; compared exactly.",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="Comma-separated proxies whose X-Forwarded-For is trusted: addresses and networks, never `*`.",
    )

    @field_validator("session_secrets", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _check_safety(self) -> Self:
        if not self.session_secrets:
            raise ValueError("SESSION_SECRETS is empty: give at least one secret.")
        if self.environment == "production" and DEVELOPMENT_SECRET in self.session_secrets:
            raise ValueError("SESSION_SECRETS contains the default secret, which production refuses: set your own.")
        if not self.allowed_origins or "*" in self.allowed_origins:
            raise ValueError("ALLOWED_ORIGINS must name the origins of the pages, and cannot be empty or contain `*`.")
        if "*" in self.forwarded_allow_ips:
            raise ValueError("FORWARDED_ALLOW_IPS must name the proxies: with `*`, clients could choose their address.")
        try:
            trusted_networks(self.forwarded_allow_ips)
        except ValueError as error:
            raise ValueError(f"FORWARDED_ALLOW_IPS takes addresses and networks, not names: {error}.") from error
        return self


class InternalSettings(ServiceSettings):
    """Environment variables of the services that call each other's internal endpoints."""

    internal_token: str = Field(
        default=DEVELOPMENT_TOKEN,
        min_length=1,
        description="Bearer token of the internal endpoints; the same for all services.",
    )

    @model_validator(mode="after")
    def _check_token(self) -> Self:
        if self.environment == "production" and self.internal_token == DEVELOPMENT_TOKEN:
            raise ValueError("INTERNAL_TOKEN is the default, which production refuses: set your own.")
        return self


AnySettings = TypeVar("AnySettings", bound=ServiceSettings)


def load_settings(service: str, settings: Callable[[], AnySettings]) -> AnySettings:
    """Read the environment. If it is invalid, print why and exit with status 2."""
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"]).upper()
            sentence = problem["msg"].removeprefix("Value error, ")
            print(f"{service} cannot start: {where + ': ' if where else ''}{sentence}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
