"""The published pictures and scores of the method, which hardly depend on the network's weights.

At the published input scale the activities of both sources are nearly equal in deep layers, so that
their weights lie near 0.5 whatever the network; larger ones come from the detail itself.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.reference_data import PAIRS, read_golden, read_gray, read_sources

from fusion_core import fuse, score

LARGEST_MEAN_DIFFERENCE = 0.3
"""Gray levels; measured: 0.034 to 0.172, 0.081 on average over the pairs."""
SCORE_TOLERANCE = 0.1
"""Relative; measured: 0.026."""

QUICK = (8,)
"""Pairs of the default run; small pictures."""


@functools.cache
def fused_pair(reference: Path, pair: int) -> NDArray[np.uint8]:
    ir, vis = read_sources(reference, pair)
    return fuse(ir, vis, method="resnet152", weights="random:0")


@pytest.mark.parametrize(
    "pair",
    [pair if pair in QUICK else pytest.param(pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_published_picture_is_met_with_untrained_weights(pair: int, shared_reference: Path) -> None:
    published = read_gray(shared_reference / "fused" / "resnet152" / f"{pair}.png").astype(float)
    difference = np.abs(fused_pair(shared_reference, pair) - published).mean()
    assert difference < LARGEST_MEAN_DIFFERENCE


@pytest.mark.slow
def test_published_mean_nabf_is_met_with_untrained_weights(shared_reference: Path) -> None:
    golden = [
        row.value
        for row in read_golden(shared_reference)
        if (row.method, row.metric) == ("resnet152", "Nabf")
    ]
    found = [
        score(
            *read_sources(shared_reference, pair),
            fused_pair(shared_reference, pair),
            metrics=["Nabf"],
        )
        for pair in PAIRS
    ]
    assert len(golden) == len(found)
    mean = np.mean([scores["Nabf"] for scores in found])
    assert mean == pytest.approx(np.mean(golden), rel=SCORE_TOLERANCE)
