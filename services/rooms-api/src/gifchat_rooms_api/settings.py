"""Settings from the environment of rooms-api."""

from pydantic import Field

from gifchat_chassis.settings import InternalSettings, NodeName, Port
from gifchat_contracts import limits


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
    history_page_bytes: int = Field(
        default=256 * 1024,
        ge=1,
        description="About the largest size of a page of a room's history, in bytes. A page of 256 KiB takes the event "
        "loop, which also commits messages, one to three milliseconds.",
    )
    history_user_burst_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=1,
        description="Bytes of history that a user may read at once from a replica. 4 MiB are 300 ordinary pages.",
    )
    history_user_bytes_per_s: int = Field(
        default=256 * 1024, ge=1, description="Bytes of history per second that a user may read after that."
    )
    history_address_burst_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1,
        description="Bytes of history that all users of an address may read at once from a replica. 16 MiB are 1,200 "
        "ordinary pages, enough for a school behind one address.",
    )
    history_address_bytes_per_s: int = Field(
        default=1024 * 1024,
        ge=1,
        description="Bytes of history per second that all users of an address may read after that.",
    )
    empty_room_ttl: float = Field(
        default=300.0, ge=0, description="Seconds that a room may stay empty before it is removed; 0 keeps it forever."
    )
    room_changes_per_user: int = Field(
        default=60,
        ge=1,
        description="Rooms that one user may create or edit a minute, also all at once. Each change costs the whole "
        "lobby an event, and a new password costs a hash.",
    )
    room_changes_per_address: int = Field(
        default=240,
        ge=1,
        description="Rooms that one address may create or edit a minute, also all at once. Enough for a school behind "
        "one address.",
    )
    rooms_per_user: int = Field(
        default=30, ge=1, description="Rooms that one user may have at once, so that nobody fills the list of rooms."
    )
    rooms_per_address: int = Field(
        default=300,
        ge=1,
        description="Rooms created by one address that may exist at once. Enough for a school behind one address. "
        "Empty rooms stop counting when they are removed.",
    )
    unentered_room_listed: float = Field(
        default=60.0,
        ge=0,
        description="Seconds that the list of rooms has a new room that nobody has entered. Later it has the room once "
        "somebody enters.",
    )
    messages_per_user: int = Field(
        default=150,
        ge=1,
        description="Messages that a user may post at once into all rooms. A person cannot type this fast. Slow mode "
        "keeps a room readable.",
    )
    messages_per_user_per_second: float = Field(
        default=20.0, gt=0, description="Messages that a user may post per second in the long run."
    )
    uploads_per_user: int = Field(
        default=20, ge=1, description="Uploads that a user may make at once: an album. Decoding is costly."
    )
    uploads_per_user_per_second: float = Field(
        default=0.5, gt=0, description="Uploads that a user may make per second in the long run."
    )
    uploads_per_address: int = Field(
        default=200,
        ge=1,
        description="Uploads that one address may make at once: a class of 30 with six pictures each.",
    )
    uploads_per_address_per_second: float = Field(
        default=5.0, gt=0, description="Uploads that one address may make per second in the long run."
    )
    room_messages_per_address: float = Field(
        default=20.0,
        gt=0,
        description="Messages that all users of one address may post into one room a second. Enough for a class behind "
        "one address. Slow mode limits each user further.",
    )
    room_messages_per_address_at_once: int = Field(
        default=150,
        ge=1,
        description="Messages that they may post at once: as many as one user may (`MESSAGES_PER_USER`), so a program "
        "that is alone at its address is not limited further.",
    )
    kick_hold: float = Field(
        default=60.0,
        ge=0,
        le=limits.MEMBERSHIP_TTL_S,
        description="Seconds that a kicked user must stay out. Long enough that the room calms down, and short enough "
        "that an owner kicks without regret. A ban lasts until its end.",
    )
    sanctions_per_room: int = Field(
        default=1_000,
        ge=1,
        description="Maximum number of sanctioned users in a room. Then the oldest sanctions end, kicks first. "
        "They are read with the room, so a longer list would slow the room down.",
    )
    gif_cache_seconds: int = Field(
        default=2,
        ge=0,
        le=3,
        description="Seconds that nginx and a CDN may each serve a GIF before they ask again. A deleted GIF stays "
        "reachable for that long, and at nginx for up to 1 s more. Two caches in a row add up, and the promise is 5 s. "
        "Browsers ask every time.",
    )
    sign_outs_per_address: int = Field(
        default=60,
        ge=1,
        description="Sign-outs that one address may make at once: a class leaves a computer room. Each takes about 100 "
        "bytes in every process for a month.",
    )
    sign_out_refill: float = Field(
        default=30.0, gt=0, description="Seconds until one address may sign out once more: 90,000 times a month."
    )
    unreferenced_gif_ttl: float = Field(
        default=3_600.0,
        ge=0,
        description="Seconds that an uploaded GIF stays, and can be posted by its uploader, while no message shows it.",
    )
    decoders: int = Field(
        default=2,
        ge=1,
        description="Uploaded pictures decoded at once. If there are several decoders, one address never takes all "
        "of them.",
    )
    decode_waiting: int = Field(
        default=32, ge=1, description="Uploaded pictures that may wait for a decoder; further ones are refused."
    )
    decode_waiting_per_address: int = Field(
        default=16, ge=1, description="Pictures of one address that may wait for a decoder."
    )
    decode_deadline: float = Field(
        default=30.0,
        gt=0,
        description="Seconds for waiting and decoding, after which an upload is refused; below the 60 s of proxies.",
    )
    decode_cpu: int = Field(
        default=20, ge=1, description="CPU seconds for one picture. The longest allowed animation takes about 2."
    )
    decode_memory: int = Field(
        default=1_024, ge=256, description="MiB of address space for one picture. The largest one takes about 500."
    )
    decode_niceness: int = Field(
        default=15,
        ge=0,
        le=19,
        description="Niceness of decoders and of their sessions, so that they leave the CPU to requests. Linux's "
        "autogroups divide the CPU between sessions first. At 15, a decoder still gets 3% of a busy core; at 19, 1%.",
    )
    decode_megapixels_per_user: int = Field(
        default=1_000,
        ge=1,
        description="Megapixels of all frames that a user may upload at once: four large animations.",
    )
    decode_megapixels_per_user_per_second: float = Field(
        default=5.0, gt=0, description="Megapixels per second that a user gets back: a usual GIF every two seconds."
    )
    decode_megapixels_per_address: int = Field(
        default=4_000,
        ge=1,
        description="Megapixels that an address may upload at once: a school of 100 users with four usual GIFs each.",
    )
    decode_megapixels_per_address_per_second: float = Field(
        default=20.0, gt=0, description="Megapixels per second that an address gets back: a tenth of one decoder."
    )
    uploads_in_flight: int = Field(
        default=32,
        ge=1,
        description="Maximum number of uploads that a process receives and decodes at once; further ones are refused. "
        "Each holds up to two copies of a file of 10 MiB, so 32 hold up to 640 MiB.",
    )
    uploads_in_flight_per_address: int = Field(
        default=8,
        ge=1,
        description="The same for each client address (IPv6: /64). No address takes every slot, and a school behind "
        "one address can still upload several GIFs at once.",
    )
    upload_timeout: float = Field(
        default=60.0,
        gt=0,
        description="Seconds in which an upload must arrive. 10 MiB need 1.4 Mbit/s.",
    )
    upload_stall_timeout: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that an upload may go without sending a byte. A mobile connection recovers within that.",
    )
