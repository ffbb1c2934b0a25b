"""How much a client may send: a budget of packets and bytes for each connection and for each address. No I/O.

The budgets are checked before a packet is parsed. The server stops reading from a client that has spent its budget
(backpressure), and disconnects one that keeps overspending. `now_s` is always the event loop's time.
"""

import math
from dataclasses import dataclass
from typing import Final

PACKETS_PER_TURN: Final = 32
"""After this many packets of one connection, the other connections get a turn of the event loop."""

_ROUNDING_ERROR: Final = 1e-6


class OverspentError(ValueError):
    """The client spent a budget of the layers above. Disconnect it."""


class Rate:
    """What one connection or address may send: in the long run, and at once after a pause."""

    __slots__ = (
        "bytes_at_once",
        "bytes_burst_s",
        "bytes_per_s",
        "packets_at_once",
        "packets_burst_s",
        "packets_per_s",
    )

    def __init__(
        self, *, packets_per_s: float, packets_at_once: float, bytes_per_s: float, bytes_at_once: float
    ) -> None:
        self.packets_per_s = packets_per_s
        self.packets_at_once = packets_at_once
        self.packets_burst_s = packets_at_once / packets_per_s
        self.bytes_per_s = bytes_per_s
        self.bytes_at_once = bytes_at_once
        self.bytes_burst_s = bytes_at_once / bytes_per_s


CLIENT_RATE: Final = Rate(
    packets_per_s=50.0, packets_at_once=200.0, bytes_per_s=128 * 1024.0, bytes_at_once=512 * 1024.0
)
ADDRESS_RATE: Final = Rate(
    packets_per_s=1_000.0, packets_at_once=500.0, bytes_per_s=1024 * 1024.0, bytes_at_once=4 * 1024 * 1024.0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeBounds:
    """The bounds of one server."""

    client: Rate = CLIENT_RATE
    """For one connection."""
    address: Rate = ADDRESS_RATE
    """For all connections of one address together."""
    overspending_s: float = 10.0
    """A client that is throttled for this long is disconnected, unless it saved half of its budget in between."""
    connections_per_address: int = 1_000
    guests_per_address: int = 200
    """Connections without a user's session."""


class Allowance:
    """Two token buckets: packets and bytes. Each is one number: the time at which it is full again."""

    __slots__ = ("_bytes_full_at_s", "_packets_full_at_s", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._packets_full_at_s = self._bytes_full_at_s = -math.inf

    def spend(self, packets: float, size: int, now_s: float) -> None:
        """Charge packets and bytes. The allowance may go into debt. Negative numbers are refunds."""
        rate = self._rate
        full_at_s = self._packets_full_at_s
        self._packets_full_at_s = (full_at_s if full_at_s > now_s else now_s) + packets / rate.packets_per_s
        full_at_s = self._bytes_full_at_s
        self._bytes_full_at_s = (full_at_s if full_at_s > now_s else now_s) + size / rate.bytes_per_s

    def packets_left(self, now_s: float) -> float:
        """Return how many packets may be sent now; negative if the allowance is in debt."""
        rate = self._rate
        return rate.packets_at_once - max(0.0, self._packets_full_at_s - now_s) * rate.packets_per_s

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until a packet may be sent."""
        rate = self._rate
        packets_s = self._packets_full_at_s - now_s - rate.packets_burst_s + 1.0 / rate.packets_per_s
        bytes_s = self._bytes_full_at_s - now_s - rate.bytes_burst_s
        longer_s = max(packets_s, bytes_s)
        return longer_s if longer_s > _ROUNDING_ERROR else 0.0

    def exhaust(self, now_s: float) -> None:
        """Take all packets that are left."""
        self._packets_full_at_s = max(self._packets_full_at_s, now_s + self._rate.packets_burst_s)

    @property
    def full_at_s(self) -> float:
        """When both buckets are full again, if nothing more is spent."""
        return max(self._packets_full_at_s, self._bytes_full_at_s)

    def is_full(self, now_s: float, share: float = 1.0) -> bool:
        """Return whether this share of both buckets is left."""
        spent = 1.0 - share
        return (
            self._packets_full_at_s - now_s <= self._rate.packets_burst_s * spent
            and self._bytes_full_at_s - now_s <= self._rate.bytes_burst_s * spent
        )


class Address(Allowance):
    """What all connections of one address may still send, and how many there are."""

    __slots__ = ("connections", "guests", "key")

    def __init__(self, key: str, rate: Rate) -> None:
        """`key`: see `client_address.rate_limit_key`."""
        super().__init__(rate)
        self.key = key
        self.connections = 0
        self.guests = 0


class Intake(Allowance):
    """What one connection may still send. It spends its own allowance and that of its address."""

    __slots__ = ("_overspending_s", "_throttled_at_s", "address", "disconnected", "party")

    def __init__(self, rate: Rate, address: Address, overspending_s: float, party: str = "") -> None:
        """`party`: whose later connections inherit what this one has spent."""
        super().__init__(rate)
        self.address = address
        self.party = party
        self.disconnected = False
        """Whether the server disconnected the client, because it overspent."""
        self._overspending_s = overspending_s
        self._throttled_at_s: float | None = None

    def spend(self, packets: float, size: int, now_s: float) -> None:
        """Charge packets and bytes to the connection and its address."""
        if self._throttled_at_s is not None and self.is_full(now_s, 0.5):
            self._throttled_at_s = None
        super().spend(packets, size, now_s)
        self.address.spend(packets, size, now_s)

    def barred_s(self, now_s: float) -> float:
        """Return for how long the client of a closed connection may not connect again; see `disconnected`."""
        if not self.disconnected:
            return 0.0
        rate = self._rate
        return max(
            0.0,
            self._packets_full_at_s - now_s - rate.packets_burst_s / 2,
            self._bytes_full_at_s - now_s - rate.bytes_burst_s / 2,
        )

    def delay_s(self, now_s: float) -> float:
        """Return the seconds until a packet may be parsed, by the connection's allowance and its address's."""
        return max(self.wait_s(now_s), self.address.wait_s(now_s))

    def admit(self, size: int, now_s: float) -> int:
        """Charge received bytes. Return how many packets may be parsed in this turn of the loop; 0 means wait."""
        self.spend(0, size, now_s)
        if self.delay_s(now_s) > 0:
            return 0
        left = min(self.packets_left(now_s), self.address.packets_left(now_s), PACKETS_PER_TURN)
        return max(1, int(left + _ROUNDING_ERROR))

    def in_debt(self, now_s: float) -> bool:
        """Return whether the work for earlier packets cost more than the allowance. Later packets must wait."""
        # Parsing alone never causes a debt.
        return min(self.packets_left(now_s), self.address.packets_left(now_s)) < -_ROUNDING_ERROR

    def overspends(self, now_s: float) -> bool:
        """Return whether to disconnect the client. Call this whenever the client is throttled.

        Only the connection's own allowance counts. Others at the same address may have spent the address's.
        """
        if self.wait_s(now_s) <= 0:
            return False
        if self._throttled_at_s is None:
            self._throttled_at_s = now_s
        return now_s - self._throttled_at_s >= self._overspending_s
