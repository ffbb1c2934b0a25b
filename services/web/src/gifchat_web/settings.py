"""The settings of web, read from environment variables."""

from pydantic import Field

from gifchat_chassis.settings import InternalSettings, NodeName, Port


class Settings(InternalSettings):
    """Environment variables of web."""

    port: Port = 8003
    node_name: NodeName = "web"
    rooms_api_url: str = Field(default="http://127.0.0.1:8001", description="Base URL of rooms-api.")
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="URL of Redis 7, Valkey 8, or later. web only hears there that the list of rooms has changed.",
    )
    secure_cookies: bool = Field(
        default=False, description="Send cookies over TLS only; set it if users connect with https."
    )
    list_keep_s: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Seconds for which a page of the list of rooms is kept and shown to everybody, unless a room is "
        "created, changed or removed; 0 keeps none. Numbers of members can be that old.",
    )
    list_pages_kept: int = Field(
        default=200,
        ge=1,
        description="Pages of the list of rooms that are kept, one for each search; a page takes some 20 KB.",
    )
    rendered_pages_kept: int = Field(
        default=200,
        ge=1,
        description="Rendered pages that are kept, one for each language and for each state of a room or of the list; "
        "a page takes some 20 KB.",
    )
