"""The settings of web, read from environment variables."""

from pydantic import Field

from gifchat_chassis.settings import NodeName, Port, ServiceSettings


class Settings(ServiceSettings):
    """Environment variables of web."""

    port: Port = 8003
    node_name: NodeName = "web"
    rooms_api_url: str = Field(default="http://127.0.0.1:8001", description="Base URL of rooms-api.")
    secure_cookies: bool = Field(
        default=False, description="Send cookies over TLS only; set it if users connect with https."
    )
