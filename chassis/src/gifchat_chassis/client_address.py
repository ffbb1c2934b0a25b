"""Find the client's address behind trusted proxies, and the key that rate limits use for it."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network

_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
_SHORTEST_PREFIX = {4: 8, 6: 7}
"""The largest private networks: 10.0.0.0/8 and fc00::/7."""


def trusted_networks(proxies: str) -> list[IPv4Network | IPv6Network]:
    """Parse comma-separated addresses and networks.

    Raises:
        ValueError: a part is neither an address nor a network.
    """
    return [ip_network(part.strip(), strict=False) for part in proxies.split(",") if part.strip()]


def trusts_too_many(networks: Iterable[IPv4Network | IPv6Network]) -> IPv4Network | IPv6Network | None:
    """Return a network that is too large to contain only proxies, if these networks together cover one."""
    v4 = [each for each in networks if isinstance(each, IPv4Network)]
    v6 = [each for each in networks if isinstance(each, IPv6Network)]
    # A socket for both families shows an IPv4 client as `::ffff:192.0.2.1`.
    mapped = [_unmapped(each) for each in v6 if each.subnet_of(_IPV4_MAPPED)]
    covered: list[IPv4Network | IPv6Network] = [*collapse_addresses(v4 + mapped), *collapse_addresses(v6)]
    return next((each for each in covered if _is_too_large(each)), None)


def _is_too_large(network: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv6Network) and _IPV4_MAPPED.subnet_of(network):
        return True
    return network.prefixlen < _SHORTEST_PREFIX[network.version]


def _unmapped(network: IPv6Network) -> IPv4Network:
    return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - _IPV4_MAPPED.prefixlen))


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


@lru_cache(maxsize=10_000)
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


def network_of(host: str) -> str:
    """Return the address of the client's network, for logs: the /24 of IPv4, the /48 of IPv6. `-` if it is neither."""
    try:
        address = ip_address(host)
    except ValueError:
        return "-"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return network_of(str(address.ipv4_mapped))
        return str(ip_network((address, 48), strict=False).network_address)
    return str(ip_network((address, 24), strict=False).network_address)
