"""A position: how far a reader has read in a room, as (epoch, seq)."""

from dataclasses import dataclass
from typing import Self

from gifchat_contracts.ids import Epoch, is_epoch

MAX_SEQ = 2**53 - 1
"""JavaScript's `Number.MAX_SAFE_INTEGER`."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a room's log. `seq` 0 is the place before the first entry."""

    epoch: Epoch
    seq: int

    def as_json(self) -> dict[str, str | int]:
        """Return `{"epoch": "<16 hex>", "seq": <int>}`, the form in every event and API."""
        return {"epoch": self.epoch, "seq": self.seq}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Parse what `as_json` returns.

        Raises:
            ValueError: `value` has another form.
        """
        match value:
            case {"epoch": str(epoch), "seq": int(seq)} if (
                is_epoch(epoch) and not isinstance(seq, bool) and 0 <= seq <= MAX_SEQ
            ):
                return cls(epoch, seq)
            case _:
                raise ValueError("a position is {'epoch': 16 hex digits, 'seq': a whole number from 0}")
