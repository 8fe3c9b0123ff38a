from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.reference_data import PAIRS, read_gray, read_sources

from fusion_core import fuse
from fusion_core.metrics import METRICS

TABLE_II = {
    "EN": 6.66296,
    "MI_as_published": 13.32592,
    "Qabf": 0.43454,
    "FMI_dct": 0.41456,
    "FMI_w": 0.42525,
    "SCD": 1.83379,
    "SSIM_a": 0.72829,
    "MS_SSIM": 0.92860,
}
"""The DenseFuse row of Table II in Li & Wu, Res2NetFuse: means over pairs 1 to 20."""


@functools.cache
def fuse_pair(reference: Path, pair: int) -> NDArray[np.uint8]:
    ir, vis = read_sources(reference, pair)
    return fuse(
        ir,
        vis,
        method="densefuse",
        weights=reference / "weights" / "densefuse_gray_1e2.safetensors",
        strategy="addition",
        output_range="minmax",
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_published_output_is_reproduced_to_one_gray_level(
    pair: int, shared_reference: Path
) -> None:
    published = read_gray(shared_reference / "fused" / "densefuse_addition" / f"{pair}.png")
    fused = fuse_pair(shared_reference, pair)
    assert np.abs(fused.astype(int) - published).max() <= 1


def test_published_means_over_twenty_pairs_are_reproduced(shared_reference: Path) -> None:
    values: dict[str, list[float]] = {name: [] for name in TABLE_II}
    for pair in range(1, 21):
        images = (*read_sources(shared_reference, pair), fuse_pair(shared_reference, pair))
        tensors = [torch.tensor(image)[None, None] for image in images]
        for name, column in values.items():
            column.append(METRICS[name](*tensors).item())
    means = {name: float(np.mean(column)) for name, column in values.items()}
    assert means == pytest.approx(TABLE_II, rel=0, abs=4e-5)
