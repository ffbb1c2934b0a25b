"""Bounds the uploads that this process receives and decodes at the same time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused

RETRY_AFTER_S = 1.0


class UploadSlots:
    """Counts uploads in flight, in all and for each address."""

    def __init__(self, in_all: int, per_address: int) -> None:
        """If `per_address` is less than `in_all`, no address can take every slot."""
        self._in_all = in_all
        self._per_address = per_address
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def taken(self, address: str) -> Iterator[None]:
        """Hold a slot for an upload from `address`. Take it before the body is read.

        Raises:
            Refused: `RATE_LIMITED` if this address has too many uploads in flight, `UNAVAILABLE` if all addresses
                together have.
        """
        if self._in_flight.get(address, 0) >= self._per_address:
            raise Refused(errors.RATE_LIMITED, RETRY_AFTER_S)
        if self._in_flight.total() >= self._in_all:
            raise Refused(errors.UNAVAILABLE)
        self._in_flight[address] += 1
        try:
            yield
        finally:
            self._in_flight[address] -= 1
            if not self._in_flight[address]:
                del self._in_flight[address]
