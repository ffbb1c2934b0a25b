"""Count the connections of each client address, and share one allowance between them. No I/O."""

from gifchat_chassis.client_address import rate_limit_key
from gifchat_realtime_gateway.engine.intake import Address, Intake, IntakeBounds


class Addresses:
    """The addresses that have connections: IPv4 addresses and IPv6 /64 networks.

    An address without connections is kept until its allowance is full again. Otherwise a client could get a new
    allowance by reconnecting.
    """

    def __init__(self, bounds: IntakeBounds) -> None:
        self._bounds = bounds
        self._addresses: dict[str, Address] = {}
        self._left: set[Address] = set()
        """Addresses whose last connection has closed."""

    def __len__(self) -> int:
        return len(self._addresses)

    def admits(self, host: str, *, guest: bool) -> bool:
        """Return whether this address may open another connection. A guest has no session."""
        address = self._addresses.get(rate_limit_key(host))
        if address is None:
            return True
        if address.connections >= self._bounds.connections_per_address:
            return False
        return not guest or address.guests < self._bounds.guests_per_address

    def enter(self, host: str, *, guest: bool) -> Intake:
        """Count a new connection, and return its intake."""
        key = rate_limit_key(host)
        address = self._addresses.get(key)
        if address is None:
            address = self._addresses[key] = Address(key, self._bounds.address)
        address.connections += 1
        address.guests += guest
        return Intake(self._bounds.client, address, self._bounds.overspending_s)

    def leave(self, intake: Intake, *, guest: bool) -> None:
        """Forget a connection."""
        address = intake.address
        address.connections -= 1
        address.guests -= guest
        if address.connections == 0:
            self._left.add(address)

    def tidy(self, now_s: float) -> None:
        """Forget the addresses that have no connections and a full allowance."""
        for address in [address for address in self._left if address.connections or address.is_full(now_s)]:
            self._left.discard(address)
            if not address.connections:
                del self._addresses[address.key]
