"""The methods without weights against published pictures, or pictures of verified programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.reference_data import PAIRS, read_gray, read_sources

from fusion_core import fuse

FOLDERS = {
    "cbf": "fused/cbf",
    "wls": "fused/wls",
    **{
        name: f"fused_compared/{name}"
        for name in ("adf", "dchwt", "fpde", "gff", "gtf", "hmsd_gf", "ifevip", "mgff", "tif")
    },
}
LARGEST = 1
"""Gray levels; a pixel in the middle between two levels may be rounded to either."""
LARGEST_MEAN = {"gtf": 0.005}
"""Gray levels, 5e-4 for other methods; `gtf` stops far from convergence, and amplifies rounding."""
EXCEPTIONS = {"wls": 1}
"""Pixels of a picture that may differ by more, where both sources have details of one size."""
QUICK = 8
"""The pair of the default run, the smallest one."""


def cases() -> list[object]:
    pairs = {"fused/cbf": PAIRS, "fused/wls": PAIRS}
    return [
        pytest.param(
            name, pair, marks=[] if pair == QUICK else [pytest.mark.slow], id=f"{name}-{pair}"
        )
        for name, folder in FOLDERS.items()
        for pair in pairs.get(folder, (1, 3, 5, 7, 8, 11, 12, 19))
    ]


@pytest.mark.parametrize(("name", "pair"), cases())
def test_published_picture_is_met(name: str, pair: int, shared_reference: Path) -> None:
    ir, vis = read_sources(shared_reference, pair)
    published = read_gray(shared_reference / FOLDERS[name] / f"{pair}.png").astype(int)
    difference = np.abs(fuse(ir, vis, method=name).astype(int) - published)
    assert (difference > LARGEST).sum() <= EXCEPTIONS.get(name, 0)
    assert difference.max() <= 2 * LARGEST
    assert difference.mean() <= LARGEST_MEAN.get(name, 5e-4)
