"""The published pictures of the method, which hardly depend on the network's weights.

At the published input scale the activities of both sources are nearly equal, so that the weight
maps lie near 0.5 whatever the network; what is left is the plain average of the sources and a
little more detail.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.reference_data import PAIRS, read_gray, read_sources

from fusion_core import fuse

LARGEST_MEAN_DIFFERENCE = 0.4
"""Gray levels; measured: 0.117 to 0.319, 0.185 on average over the pairs."""
SHARE_OF_AVERAGE = 0.8
"""Of the plain average's difference from the published picture; measured: at most 0.66."""


QUICK = (1, 5, 11)
"""Pairs of the default run; small pictures."""


@pytest.mark.parametrize(
    "pair",
    [pair if pair in QUICK else pytest.param(pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_published_output_is_met_with_untrained_weights(pair: int, shared_reference: Path) -> None:
    ir, vis = read_sources(shared_reference, pair)
    published = read_gray(shared_reference / "fused" / "vggml" / f"{pair}.png").astype(float)
    fused = fuse(ir, vis, method="vgg_multilayer", weights="random:0")
    difference = np.abs(fused - published).mean()
    average = np.abs(np.round((ir.astype(float) + vis) / 2.0) - published).mean()
    assert difference < min(LARGEST_MEAN_DIFFERENCE, SHARE_OF_AVERAGE * average)
