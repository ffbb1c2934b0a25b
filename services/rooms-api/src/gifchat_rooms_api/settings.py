"""Settings from the environment of rooms-api."""

from pydantic import Field

from gifchat_chassis.settings import InternalSettings, NodeName, Port


class Settings(InternalSettings):
    """Environment variables of rooms-api."""

    port: Port = 8001
    node_name: NodeName = "rooms-api"
    mongo_url: str = Field(
        default="mongodb://127.0.0.1:27017/?replicaSet=rs0",
        description="URL of a MongoDB replica set; a single node is fine.",
    )
    mongo_database: str = Field(default="gifchat", min_length=1, description="Name of the database.")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="URL of Redis 7, Valkey 8, or later.")
    empty_room_ttl: float = Field(
        default=300.0, ge=0, description="Seconds that a room may stay empty before it is removed; 0 keeps it forever."
    )
    unreferenced_gif_ttl: float = Field(
        default=3_600.0, ge=0, description="Seconds after which an uploaded GIF is removed if no message shows it."
    )
