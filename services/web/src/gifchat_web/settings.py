"""What the environment says about this process."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gifchat_contracts.identity import DEVELOPMENT_SECRET

CommaList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Environment variables of web; names are the fields' in capitals."""

    model_config = SettingsConfigDict(frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8003, ge=0, le=65_535, description="Port to listen on.")
    node_name: str = Field(default="web", description="Name of this process in logs.")
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
    allowed_origins: CommaList = Field(
        default=("http://localhost:8080", "http://127.0.0.1:8080"),
        description="Comma-separated origins whose pages may change something, compared to the letter.",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1", description="Proxies whose X-Forwarded-For is believed, comma-separated; never `*`."
    )
    rooms_api_url: str = Field(default="http://127.0.0.1:8001", description="Where rooms-api is reached.")
    secure_cookies: bool = Field(default=False, description="Set cookies with Secure: true wherever people use TLS.")

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
        if "*" in self.forwarded_allow_ips:
            raise ValueError("FORWARDED_ALLOW_IPS must name the proxies: with `*` clients could choose their address.")
        return self
