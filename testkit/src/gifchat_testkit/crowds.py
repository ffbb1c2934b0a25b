"""Settings of gateways for many clients that all have the same address, as in tests and benchmarks."""

from types import MappingProxyType
from typing import Final

ONE_ADDRESS: Final = MappingProxyType(
    {
        "CONNECTIONS_PER_ADDRESS": "100000",
        "GUESTS_PER_ADDRESS": "100000",
        "ADDRESS_PACKETS_PER_SECOND": "1000000",
        "ADDRESS_PACKETS_AT_ONCE": "1000000",
        "ADDRESS_BYTES_PER_SECOND": "1000000000",
        "ADDRESS_BYTES_AT_ONCE": "1000000000",
    }
)
"""No bounds for an address. Those for each connection stay."""
