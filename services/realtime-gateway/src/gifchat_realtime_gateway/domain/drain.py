"""Move clients away in waves, so that they do not reach the other nodes all at once."""

from collections.abc import Sequence
from math import ceil

WAVE_S = 0.1


def waves(connections: Sequence[str], over_s: float, wave_s: float = WAVE_S) -> list[Sequence[str]]:
    """Split `connections` into waves of about the same size, one every `wave_s` seconds, for `over_s` seconds in total.

    No wave is empty, so a few connections need only a few waves.
    """
    count = max(1, min(len(connections), round(over_s / wave_s)))
    size = max(1, ceil(len(connections) / count))
    return [connections[at : at + size] for at in range(0, len(connections), size)]
