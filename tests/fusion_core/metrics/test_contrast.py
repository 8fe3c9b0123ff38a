from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from fusion_core.metrics.contrast import standard_deviation


def test_standard_deviation_is_that_of_the_population() -> None:
    fused = np.random.default_rng(1).integers(0, 256, (481, 643), dtype=np.uint8)
    exact = fused.astype(np.int64)
    total, squares, count = int(exact.sum()), int((exact * exact).sum()), fused.size
    expected = math.sqrt(Fraction(squares * count - total * total, count * count))
    value = standard_deviation(fused, fused, fused).item()
    assert value == pytest.approx(expected, rel=1e-14)


def test_standard_deviation_of_a_flat_image_is_zero_at_every_gray_level() -> None:
    levels = [np.full((13, 17), level, dtype=np.uint8) for level in range(256)]
    assert {standard_deviation(flat, flat, flat).item() for flat in levels} == {0.0}
