"""Settings of realtime-gateway, read from environment variables."""

from pydantic import Field

from gifchat_chassis.settings import InternalSettings, Port
from gifchat_contracts import limits
from gifchat_realtime_gateway.domain.refused_addresses import MAX_WAIT_S
from gifchat_realtime_gateway.domain.unknown_rooms import UNKNOWN_ROOM_TTL_S
from gifchat_realtime_gateway.engine.intake import ADDRESS_RATE, CLIENT_RATE, IntakeBounds, Rate

BOUNDS = IntakeBounds()


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
    seats_per_address: int = Field(
        default=1_000,
        ge=1,
        description="Seats that users from one address may hold in all rooms of the cluster. Enough for a school of "
        "500 behind one address, with two rooms each.",
    )
    guest_seats_per_address: int = Field(
        default=100,
        ge=1,
        description="Seats that guests, who have no session, may hold from one address. A program becomes a new guest "
        "with each connection, so this bound keeps one address from filling many rooms.",
    )
    guest_seat_grace: float = Field(
        default=3.0,
        ge=0,
        description="Seconds that a seat is held for a guest, but at most SEAT_GRACE. Long enough "
        "for a client that reconnects with its `pid`, and short enough that programs do not keep rooms full.",
    )
    drain_seconds: float = Field(
        default=3.0, ge=0, description="On SIGTERM the gateway moves its sockets away over this many seconds."
    )
    client_packets_per_second: float = Field(
        default=CLIENT_RATE.packets_per_s,
        gt=0,
        description="Packets that one connection may send per second in the long run. People and pages send about 2. "
        "At 50, an attacker costs the gateway about 5 ms of CPU time per second.",
    )
    client_packets_at_once: float = Field(
        default=CLIENT_RATE.packets_at_once,
        ge=1,
        description="Packets that one connection may send at once, for example to rejoin 50 rooms after a pause.",
    )
    client_bytes_per_second: float = Field(
        default=CLIENT_RATE.bytes_per_s,
        gt=0,
        description="Bytes that one connection may send per second in the long run: two messages of the maximum size.",
    )
    client_bytes_at_once: float = Field(
        default=CLIENT_RATE.bytes_at_once,
        ge=1,
        description="Bytes that one connection may send at once: eight messages of the maximum size.",
    )
    address_packets_per_second: float = Field(
        default=ADDRESS_RATE.packets_per_s,
        gt=0,
        description="Packets that all connections of one address (IPv6: one /64 network) may send to this gateway per "
        "second in the long run. Enough for a school of 500 people who all type.",
    )
    address_packets_at_once: float = Field(
        default=ADDRESS_RATE.packets_at_once,
        ge=1,
        description="Packets that they may send at once. They delay other clients by about 50 ms at most.",
    )
    address_bytes_per_second: float = Field(
        default=ADDRESS_RATE.bytes_per_s, gt=0, description="Bytes that they may send per second in the long run."
    )
    address_bytes_at_once: float = Field(
        default=ADDRESS_RATE.bytes_at_once, ge=1, description="Bytes that they may send at once."
    )
    overspending_seconds: float = Field(
        default=BOUNDS.overspending_s,
        gt=0,
        description="A connection that is throttled for this long is closed with code 4029. The time starts again "
        "once half of its budget is left. An honest burst ends earlier.",
    )
    join_packets: float = Field(
        default=3.0,
        ge=0,
        description="A join costs this many packets more of the two budgets, because it takes a seat in Redis. At 3, a "
        "client may join 50 rooms at once.",
    )
    unknown_room_packets: float = Field(
        default=50.0,
        ge=0,
        description="A join of a room that this gateway does not host costs this many packets, because it takes two "
        "requests to rooms-api. They are given back unless the room does not exist.",
    )
    unknown_room_seconds: float = Field(
        default=UNKNOWN_ROOM_TTL_S,
        ge=0,
        description="Seconds for which a gateway remembers that a room does not exist. A new room is known at once.",
    )
    message_refusal_seconds: float = Field(
        default=MAX_WAIT_S,
        ge=0,
        description="Seconds for which a gateway refuses the messages of an address in a room by itself, after "
        "rooms-api said that they are too many. A refusal by rooms-api costs as much as a message.",
    )
    connections_per_address: int = Field(
        default=BOUNDS.connections_per_address,
        ge=1,
        description="Connections that one address may have to this gateway, by polling too, which nginx cannot count. "
        "Enough for a school behind one address.",
    )
    guests_per_address: int = Field(
        default=BOUNDS.guests_per_address,
        ge=1,
        description="Connections without a session that one address may have to this gateway. Pages always have a "
        "session, so guests are programs and the original's clients.",
    )

    @property
    def intake_bounds(self) -> IntakeBounds:
        """What clients may send, and how many may connect from one address."""
        return IntakeBounds(
            client=Rate(
                packets_per_s=self.client_packets_per_second,
                packets_at_once=self.client_packets_at_once,
                bytes_per_s=self.client_bytes_per_second,
                bytes_at_once=self.client_bytes_at_once,
            ),
            address=Rate(
                packets_per_s=self.address_packets_per_second,
                packets_at_once=self.address_packets_at_once,
                bytes_per_s=self.address_bytes_per_second,
                bytes_at_once=self.address_bytes_at_once,
            ),
            overspending_s=self.overspending_seconds,
            connections_per_address=self.connections_per_address,
            guests_per_address=self.guests_per_address,
        )
