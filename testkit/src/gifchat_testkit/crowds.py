"""Settings of services for many clients that share one address, as in tests and benchmarks."""

from types import MappingProxyType
from typing import Final

ONE_ADDRESS: Final = MappingProxyType(
    {
        "CONNECTIONS_PER_ADDRESS": "100000",
        "GUESTS_PER_ADDRESS": "100000",
        "SEATS_PER_ADDRESS": "1000000",
        "GUEST_SEATS_PER_ADDRESS": "1000000",
        "ADDRESS_PACKETS_PER_SECOND": "1000000",
        "ADDRESS_PACKETS_AT_ONCE": "1000000",
        "ADDRESS_BYTES_PER_SECOND": "1000000000",
        "ADDRESS_BYTES_AT_ONCE": "1000000000",
    }
)
"""No bounds for an address. The bounds for each connection stay."""

ROOMS_API_FOR_ONE_ADDRESS: Final = MappingProxyType(
    {
        "ROOM_CHANGES_PER_ADDRESS": "1000000",
        "SIGN_OUTS_PER_ADDRESS": "1000000",
        "DECODE_WAITING_PER_ADDRESS": "1000000",
        "DECODE_MEGAPIXELS_PER_ADDRESS": "1000000",
        "UPLOADS_IN_FLIGHT_PER_ADDRESS": "1000000",
        "ROOMS_PER_ADDRESS": "1000000",
        "ROOMS_PER_USER": "1000000",
        "UPLOADS_PER_ADDRESS": "1000000",
        "ROOM_MESSAGES_PER_ADDRESS": "1000000",
        "ROOM_MESSAGES_PER_ADDRESS_AT_ONCE": "10000000",
        "HISTORY_ADDRESS_BURST_BYTES": "1000000000000",
        "HISTORY_USER_BURST_BYTES": "1000000000000",
    }
)
"""No bounds in rooms-api for an address, or for a user who owns all rooms and reads them all."""
