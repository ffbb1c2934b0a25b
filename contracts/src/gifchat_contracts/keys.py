"""The names of Redis keys and channels.

Rooms are spread over `PARTITIONS` partitions. All keys of a partition carry its hash tag, so Redis Cluster keeps them
in one slot. One Lua script can therefore use a room, its partition's leases and its generation marker together.
"""

from functools import lru_cache
from zlib import crc32

from gifchat_contracts.ids import NodeId, Pid, RoomId, UserId, is_room_id

PARTITIONS = 64
LOBBY_CHANNEL = "gifchat:{lobby}:events"
REVOCATIONS_CHANNEL = "gifchat:{sessions}:revoked"
"""Sharded pub/sub channel: a session was signed out. Every process also reads the revocations from rooms-api."""
NODE_LEASES = "gifchat:{nodes}:leases"
"""Sorted set: node tag → lease expiry in milliseconds of Redis time."""
NODE_ADDRESSES = "gifchat:{nodes}:addresses"
"""Hash: node tag → `host:port`, at which other gateways reach the node."""


def partition_of(room_id: RoomId) -> int:
    """Return the partition that a room's keys live in: 0 … `PARTITIONS` - 1."""
    return crc32(room_id.encode()) % PARTITIONS


def partition_prefix(partition: int) -> str:
    """Return the prefix of every key of a partition. Lua scripts build the names of a room's keys from it."""
    return f"gifchat:{{p{partition:02d}}}:"


def room_prefix(room_id: RoomId) -> str:
    """Return the prefix of every key of a room."""
    return f"{partition_prefix(partition_of(room_id))}room:{room_id}:"


def room_channel(room_id: RoomId) -> str:
    """Return the sharded pub/sub channel that carries a room's events."""
    return f"{room_prefix(room_id)}events"


def canary_channel(node_id: NodeId) -> str:
    """Return the channel on which a gateway receives its own canary."""
    return f"gifchat:{{{node_id}}}:canary"


@lru_cache(maxsize=32_768)
def room_of_channel(channel: str) -> RoomId | None:
    """Return the room that a channel belongs to, or None if it is not a room's channel."""
    _, _, rest = channel.partition("}:room:")
    room_id, _, what = rest.partition(":")
    return room_id if what == "events" and is_room_id(room_id) else None


def generation(partition: int) -> str:
    """String: when the partition's recovery ends, in milliseconds of Redis time. Missing: Redis restarted empty."""
    return f"{partition_prefix(partition)}generation"


def server(partition: int) -> str:
    """String: `<run id>|<milliseconds of Redis time>`: the server that has the partition, and when it took over.

    A server that takes over may lack the newest seats, so the partition recovers.
    """
    return f"{partition_prefix(partition)}server"


def heard(partition: int) -> str:
    """String: roughly when a gateway last used the partition, in milliseconds of Redis time.

    After a long silence, the partition recovers.
    """
    return f"{partition_prefix(partition)}heard"


def leases(partition: int) -> str:
    """Sorted set: `room|node` → lease expiry in milliseconds of Redis time."""
    return f"{partition_prefix(partition)}leases"


def grace(partition: int) -> str:
    """Sorted set: `room|user` → end of the grace period in milliseconds of Redis time."""
    return f"{partition_prefix(partition)}grace"


def occupancy(partition: int) -> str:
    """Sorted set: room → number of members. Rooms without members are left out."""
    return f"{partition_prefix(partition)}occupancy"


def members(room_id: RoomId) -> str:
    """Hash: user → `<number of nodes with the user's sessions>|<colour>`. 0 nodes: the seat is in its grace period."""
    return f"{room_prefix(room_id)}members"


def nodes(room_id: RoomId) -> str:
    """Set of the nodes that hold seats of the room."""
    return f"{room_prefix(room_id)}nodes"


def node_sessions(room_id: RoomId, node_id: NodeId) -> str:
    """Hash: user → number of the user's sessions in the room on one node."""
    return f"{room_prefix(room_id)}node:{node_id}"


def used_ticket(room_id: RoomId, ticket_id: str) -> str:
    """String with an expiry that marks a ticket as used."""
    return f"{room_prefix(room_id)}ticket:{ticket_id}"


def grant(room_id: RoomId, user_id: UserId) -> str:
    """String with an expiry: the user gave the room's password; see `grants.Grant`."""
    return f"{room_prefix(room_id)}grant:{user_id}"


def address_seats(whose: str) -> str:
    """Hash with an expiry: node → `<seats>|<expiry in milliseconds of Redis time>`: the seats that an address holds."""
    return f"gifchat:seats:{{{whose}}}"


def saved_session(pid: Pid) -> str:
    """Hash with an expiry: a saved session of `/chat` with its rooms, by its private id."""
    return f"gifchat:session:{{{pid}}}"


def rate_limit(what: str, whom: str) -> str:
    """Hash with an expiry: the token bucket of `whom` (a user, an address, a room) for `what`."""
    return f"gifchat:limit:{what}:{{{whom}}}"
