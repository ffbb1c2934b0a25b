"""How sockets are moved away: in waves, so that the other nodes are not hit by all of them at once."""

from collections.abc import Sequence
from math import ceil

WAVE_S = 0.1


def waves(connections: Sequence[str], over_s: float, wave_s: float = WAVE_S) -> list[Sequence[str]]:
    """Split `connections` into equal waves, one every `wave_s`, that take `over_s` seconds together.

    Few connections make few waves: nobody waits for an empty one.
    """
    count = max(1, min(len(connections), round(over_s / wave_s)))
    size = max(1, ceil(len(connections) / count))
    return [connections[at : at + size] for at in range(0, len(connections), size)]
