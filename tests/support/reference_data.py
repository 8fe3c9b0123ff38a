"""The published reference data: pairs, fused images and their published scores."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PAIRS = range(1, 22)

_RELATIVE_TOLERANCE = 1e-9
_NOISE: dict[str, dict[int, float]] = {
    "Qc": {3: 5e-5, 4: 5e-6},
    "Qc_mefb": dict.fromkeys(PAIRS, 2e-5),
    "VIF": {15: 1e-8, 20: 1e-7},
    "VIFF": {20: 1e-3},
}
"""Relative tolerances where rounding decides values: where covariances cancel, and where the noise
of flat areas exceeds the variance that counts as flat."""


class GoldenRow(NamedTuple):
    """One known score of one published fused image."""

    method: str
    pair: int
    metric: str
    value: float
    tolerance: float
    """How far a score may be off: half a unit of the last digit, or a relative 1e-9."""


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit gray image by Pillow alone."""
    with Image.open(path) as image:
        assert image.mode == "L", f"{path} is {image.mode}"
        return np.asarray(image)


def read_sources(reference: Path, pair: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the infrared and the visible image of a pair."""
    ir, vis = (read_gray(reference / "tno" / f"{word}{pair}.png") for word in ("IR", "VIS"))
    return ir, vis


def read_golden(reference: Path) -> list[GoldenRow]:
    """Read the scores that the papers' authors published."""
    return [
        row._replace(tolerance=0.5 * 10.0 ** -len(digits))
        for row, digits in _read_rows(reference / "golden.csv")
    ]


def read_extended_golden(reference: Path) -> list[GoldenRow]:
    """Read the scores by implementations that agree with the original programs."""
    return [
        row._replace(tolerance=_relative_tolerance(row) * abs(row.value))
        for row, _ in _read_rows(reference / "golden_extended.csv")
    ]


def _relative_tolerance(row: GoldenRow) -> float:
    return _NOISE.get(row.metric, {}).get(row.pair, _RELATIVE_TOLERANCE)


def _read_rows(path: Path) -> Iterator[tuple[GoldenRow, str]]:
    """Read rows, with the decimals of their values."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            value = row["value"]
            golden = GoldenRow(row["method"], int(row["pair"]), row["metric"], float(value), 0.0)
            yield golden, value.partition(".")[2]
