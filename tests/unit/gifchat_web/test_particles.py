import json
from pathlib import Path

import pytest

from gifchat_web.domain.particles import particle

EXAMPLES = json.loads((Path(__file__).parent / "particles.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("before", "pair", "expected"), EXAMPLES)
def test_the_particle_fits_the_sound_before_it(before: str, pair: str, expected: str) -> None:
    assert particle(before, pair) == expected
