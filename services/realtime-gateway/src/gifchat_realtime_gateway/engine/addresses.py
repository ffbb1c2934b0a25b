"""Count the connections of each client address, and share one allowance between them. No I/O."""

import math

from gifchat_chassis.client_address import rate_limit_key
from gifchat_realtime_gateway.engine.intake import Address, Intake, IntakeBounds


class Addresses:
    """The addresses that have connections: IPv4 addresses and IPv6 /64 networks.

    An address without connections is kept until its allowance is full again. So is the allowance of a closed
    connection, and the party's next connection inherits it. Otherwise a client could get a new allowance by
    reconnecting. A party is a user's session, or all guests of an address.
    """

    def __init__(self, bounds: IntakeBounds) -> None:
        self._bounds = bounds
        self._addresses: dict[str, Address] = {}
        self._left: set[Address] = set()
        """Addresses whose last connection has closed."""
        self._spent: dict[str, list[Intake]] = {}
        """Intakes of closed connections that are not full yet, by party."""

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

    def barred_s(self, host: str, session_id: str | None, now_s: float) -> float:
        """Return for how long this party may not connect, because we disconnected it for overspending.

        It ends when half of the allowance is left. 0 if the party may connect.
        """
        spent = self._spent.get(session_id or rate_limit_key(host), ())
        return max((intake.barred_s(now_s) for intake in spent), default=0.0)

    def enter(self, host: str, *, guest: bool, session_id: str | None = None) -> Intake:
        """Count a new connection, and return its intake: the party's most spent one, or a new one."""
        key = rate_limit_key(host)
        address = self._addresses.get(key)
        if address is None:
            address = self._addresses[key] = Address(key, self._bounds.address)
        address.connections += 1
        address.guests += guest
        party = session_id or key
        spent = self._spent.get(party)
        if not spent:
            return Intake(self._bounds.client, address, self._bounds.overspending_s, party)
        intake = max(spent, key=lambda each: each.full_at_s)
        spent.remove(intake)
        if not spent:
            del self._spent[party]
        intake.address, intake.disconnected = address, False
        return intake

    def leave(self, intake: Intake, *, guest: bool, disconnected: bool = False) -> None:
        """Forget a connection. `disconnected`: the server closed it, because the client overspent."""
        if intake.full_at_s > -math.inf:
            intake.disconnected = disconnected
            self._spent.setdefault(intake.party, []).append(intake)
        address = intake.address
        address.connections -= 1
        address.guests -= guest
        if address.connections == 0:
            self._left.add(address)

    def tidy(self, now_s: float) -> None:
        """Forget the addresses that have no connections and a full allowance, and the intakes that are full."""
        for party, spent in list(self._spent.items()):
            spent[:] = [intake for intake in spent if not intake.is_full(now_s)]
            if not spent:
                del self._spent[party]
        for address in [address for address in self._left if address.connections or address.is_full(now_s)]:
            self._left.discard(address)
            if not address.connections:
                del self._addresses[address.key]
