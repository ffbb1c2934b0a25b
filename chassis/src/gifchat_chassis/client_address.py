"""Find the client's address behind trusted proxies, and the key that rate limits use for it."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


def trusted_networks(proxies: str) -> list[IPv4Network | IPv6Network]:
    """Parse comma-separated addresses and networks.

    Raises:
        ValueError: a part is neither an address nor a network.
    """
    return [ip_network(part.strip(), strict=False) for part in proxies.split(",") if part.strip()]


class TrustedProxies:
    """Finds the client's address in `X-Forwarded-For`. Trusts only what our own proxies wrote there."""

    def __init__(self, proxies: str) -> None:
        """`proxies`: see `trusted_networks`."""
        self._networks = trusted_networks(proxies)
        # Nearly all connections come from the same few proxies.
        self._is_trusted = lru_cache(maxsize=1_024)(self._trusts)

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Return the first address that is not a trusted proxy's: `peer`, else from the right in `forwarded_for`."""
        address = peer
        for hop in reversed((forwarded_for or "").split(",")):
            if not self._is_trusted(address):
                return address
            address = hop.strip() or address
        return address

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def rate_limit_key(host: str) -> str:
    """Return the key for rate limits: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False).network_address)
    return str(address)
