"""The names of Redis keys and channels.

Rooms are spread over `PARTITIONS` partitions. All keys of a partition carry its hash tag, so in Redis Cluster they
live in one slot: one Lua script can decide over a room, its partition's leases and its generation marker at once.
"""

from functools import lru_cache
from zlib import crc32

from gifchat_contracts.ids import NodeId, RoomId, UserId, is_room_id

PARTITIONS = 64
LOBBY_CHANNEL = "gifchat:{lobby}:events"
NODE_LEASES = "gifchat:{nodes}:leases"
"""Sorted set: node tag → lease expiry in milliseconds of Redis time."""
NODE_ADDRESSES = "gifchat:{nodes}:addresses"
"""Hash: node tag → `host:port`, where other gateways reach the node."""


def partition_of(room_id: RoomId) -> int:
    """The partition, 0 … `PARTITIONS` - 1, that a room's keys live in."""
    return crc32(room_id.encode()) % PARTITIONS


def partition_prefix(partition: int) -> str:
    """What every key of a partition starts with. Lua scripts build the names of a room's keys from it."""
    return f"gifchat:{{p{partition:02d}}}:"


def room_prefix(room_id: RoomId) -> str:
    """What every key of a room starts with."""
    return f"{partition_prefix(partition_of(room_id))}room:{room_id}:"


def room_channel(room_id: RoomId) -> str:
    """The sharded pub/sub channel that carries a room's events."""
    return f"{room_prefix(room_id)}events"


def canary_channel(node_id: NodeId) -> str:
    """The channel on which a gateway hears itself."""
    return f"gifchat:{{{node_id}}}:canary"


@lru_cache(maxsize=32_768)
def room_of_channel(channel: str) -> RoomId | None:
    """The room that a channel belongs to; None where it is no room's."""
    _, _, rest = channel.partition("}:room:")
    room_id, _, what = rest.partition(":")
    return RoomId(room_id) if what == "events" and is_room_id(room_id) else None


def generation(partition: int) -> str:
    """String: milliseconds of Redis time until which the partition is recovering. Missing: Redis came back empty."""
    return f"{partition_prefix(partition)}generation"


def server(partition: int) -> str:
    """String: `<run id>|<milliseconds of Redis time>`, the server that has the partition and since when.

    Another one there now has taken over, perhaps without the last seats: the partition recovers.
    """
    return f"{partition_prefix(partition)}server"


def heard(partition: int) -> str:
    """String: milliseconds of Redis time, about when a gateway asked something last. After a silence it recovers."""
    return f"{partition_prefix(partition)}heard"


def leases(partition: int) -> str:
    """Sorted set: `room|node` → lease expiry in milliseconds of Redis time."""
    return f"{partition_prefix(partition)}leases"


def grace(partition: int) -> str:
    """Sorted set: `room|user` → end of the grace in milliseconds of Redis time."""
    return f"{partition_prefix(partition)}grace"


def occupancy(partition: int) -> str:
    """Sorted set: room → members, rooms with none left out."""
    return f"{partition_prefix(partition)}occupancy"


def members(room_id: RoomId) -> str:
    """Hash: user → `<nodes that hold a session of the user>|<colour>`; 0 nodes: the seat is in its grace."""
    return f"{room_prefix(room_id)}members"


def nodes(room_id: RoomId) -> str:
    """Set of the nodes that hold seats of the room."""
    return f"{room_prefix(room_id)}nodes"


def node_sessions(room_id: RoomId, node_id: NodeId) -> str:
    """Hash: user → sessions of the user in the room on one node."""
    return f"{room_prefix(room_id)}node:{node_id}"


def used_ticket(room_id: RoomId, ticket_id: str) -> str:
    """String with an expiry: the ticket was used."""
    return f"{room_prefix(room_id)}ticket:{ticket_id}"


def grant(room_id: RoomId, user_id: UserId) -> str:
    """String with an expiry: the access version of the room whose password the user has given."""
    return f"{room_prefix(room_id)}grant:{user_id}"


def saved_session(pid: str) -> str:
    """Hash with an expiry: a saved session of `/chat` with its rooms, by its private id."""
    return f"gifchat:session:{{{pid}}}"


def rate_limit(what: str, whom: str) -> str:
    """Hash with an expiry: the token bucket of `whom` (a user, an address, a room) for `what`."""
    return f"gifchat:limit:{what}:{{{whom}}}"
