from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from support.reference_data import GoldenRow, read_golden, read_gray, read_sources

from fusion_core.metrics import METRICS

TOLERANCE = 1e-4
"""Half of the published rows have four decimals; the largest deviation measured is 5.0e-5."""

NOT_PUBLISHED = {"MI"}


@pytest.mark.parametrize("metric", [name for name in METRICS if name not in NOT_PUBLISHED])
def test_metric_reproduces_every_published_row(metric: str, shared_reference: Path) -> None:
    rows = read_golden(shared_reference, metric)
    assert len(rows) > 20
    values = score_rows(shared_reference, metric, rows)
    misses = [
        f"{row.method} {row.pair}: {value:.6f} instead of {row.value}"
        for row, value in values
        if not abs(value - row.value) <= TOLERANCE
    ]
    assert misses == []


def score_rows(
    reference: Path, metric: str, rows: list[GoldenRow]
) -> list[tuple[GoldenRow, float]]:
    """Compute the rows' values, the fused images of one pair as one batch."""
    pairs: dict[int, list[GoldenRow]] = defaultdict(list)
    for row in rows:
        pairs[row.pair].append(row)
    values: list[tuple[GoldenRow, float]] = []
    for pair, group in pairs.items():
        fused = np.stack([read_gray(reference / "fused" / r.method / f"{pair}.png") for r in group])
        ir, vis = (np.stack([image] * len(group)) for image in read_sources(reference, pair))
        images = [torch.from_numpy(stack).unsqueeze(1) for stack in (ir, vis, fused)]
        scores = METRICS[metric].compute(*images)
        values += [(row, scores[index].item()) for index, row in enumerate(group)]
    return values
