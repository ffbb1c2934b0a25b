"""Settings that all services share, and the message for an invalid environment."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gifchat_chassis.client_address import trusted_networks, trusts_too_many
from gifchat_chassis.secret_rules import DEVELOPMENT_TOKEN, SECRET_MIN_CHARS, is_loopback, read_secret, weakness_of
from gifchat_contracts.identity import DEVELOPMENT_SECRET

_SECRETS = frozenset({"session_secrets", "internal_token"})

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
    log_addresses: Literal["full", "network"] = Field(
        default="full",
        description="`network` shortens clients' addresses in logs, nginx's access log too, to their /24 (IPv6: /48).",
    )
    environment: Literal["development", "production"] = Field(
        default="development",
        description="In production the service refuses weak secrets even on loopback, and proxies that are a large "
        "part of the internet.",
    )
    session_secrets: CommaList = Field(
        default=(DEVELOPMENT_SECRET,),
        description="Comma-separated signing secrets; the last one signs, the earlier ones still verify. If HOST is "
        f"not a loopback address, the service refuses the default and secrets of fewer than {SECRET_MIN_CHARS} "
        "characters, which can be guessed.",
    )
    secrets_folder: str = Field(
        default="",
        description="Folder with the files `session_secrets` and `internal_token`, for the variables that are unset "
        "or empty.",
    )
    allowed_origins: CommaList = Field(
        default=("http://localhost:8080", "http://127.0.0.1:8080"),
        description="Comma-separated origins whose pages may open sockets and change state; compared exactly.",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="Comma-separated proxies whose X-Forwarded-For is trusted: addresses and networks, never `*`. In "
        "production also no network larger than a /8 (IPv6: a /7), because its clients could choose their address.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, values: Any) -> Any:
        folder = values.get("secrets_folder")
        if not folder:
            return values
        found = dict(values)
        for name in _SECRETS & cls.model_fields.keys():
            if found.get(name):
                continue
            try:
                secret = read_secret(Path(folder), name)
            except OSError as error:
                raise ValueError(f"SECRETS_FOLDER: {name} cannot be read: {error.strerror}.") from error
            if not secret:
                raise ValueError(f"SECRETS_FOLDER has no secret in {name}, and {name.upper()} is not set.")
            found[name] = secret
        return found

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
        if self.environment == "production" or not is_loopback(self.host):
            for weakness in self.weak_secrets():
                where = "production" if self.environment == "production" else f"a listener on HOST={self.host}"
                raise ValueError(f"{weakness}, which {where} refuses: set your own.")
        if not self.allowed_origins or "*" in self.allowed_origins:
            raise ValueError("ALLOWED_ORIGINS must name the origins of the pages, and cannot be empty or contain `*`.")
        if "*" in self.forwarded_allow_ips:
            raise ValueError("FORWARDED_ALLOW_IPS must name the proxies: with `*`, clients could choose their address.")
        try:
            proxies = trusted_networks(self.forwarded_allow_ips)
        except ValueError as error:
            raise ValueError(f"FORWARDED_ALLOW_IPS takes addresses and networks, not names: {error}.") from error
        if self.environment == "production" and (network := trusts_too_many(proxies)) is not None:
            raise ValueError(
                f"FORWARDED_ALLOW_IPS trusts {network}, which production refuses: clients could choose their address."
            )
        return self

    def weak_secrets(self) -> Iterator[str]:
        """Yield what is wrong with the secrets, one sentence without its full stop for each variable."""
        if (weakness := weakness_of(self.session_secrets)) is not None:
            yield f"SESSION_SECRETS {weakness}"


class InternalSettings(ServiceSettings):
    """Environment variables of the services that call each other's internal endpoints."""

    internal_token: str = Field(
        default=DEVELOPMENT_TOKEN,
        min_length=1,
        description="Bearer token of the internal endpoints; the same for all services. Refused like SESSION_SECRETS.",
    )

    revocation_read_seconds: float = Field(
        default=2.0,
        gt=0,
        le=4,
        description="Seconds between two reads of the sessions that were signed out. They are refused everywhere "
        "within 5 s, so it cannot be longer.",
    )

    def weak_secrets(self) -> Iterator[str]:
        """Also check the internal token."""
        yield from super().weak_secrets()
        if (weakness := weakness_of([self.internal_token])) is not None:
            yield f"INTERNAL_TOKEN {weakness}"


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
