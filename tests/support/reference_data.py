"""The published reference data: pairs, fused images and their published scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PAIRS = range(1, 22)


class GoldenRow(NamedTuple):
    """One published score of one published fused image."""

    method: str
    pair: int
    metric: str
    value: float
    rounding: float
    """Half a unit of the last published digit."""


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit gray image by Pillow alone."""
    with Image.open(path) as image:
        assert image.mode == "L", f"{path} is {image.mode}"
        return np.asarray(image)


def read_sources(reference: Path, pair: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the infrared and the visible image of a pair."""
    ir, vis = (read_gray(reference / "tno" / f"{word}{pair}.png") for word in ("IR", "VIS"))
    return ir, vis


def read_golden(reference: Path, metric: str) -> list[GoldenRow]:
    """Read the published scores of one metric."""
    with (reference / "golden.csv").open(newline="") as file:
        rows = [
            GoldenRow(
                row["method"],
                int(row["pair"]),
                row["metric"],
                float(row["value"]),
                0.5 * 10.0 ** -len(row["value"].partition(".")[2]),
            )
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if row.metric == metric]
