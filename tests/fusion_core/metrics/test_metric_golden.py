from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from support.reference_data import GoldenRow, read_golden, read_gray, read_sources

from fusion_core.metrics import METRICS
from fusion_core.metrics.compiled import dispatch

ROWS = {
    "EN": 63, "MI_as_published": 63, "Qabf": 63, "FMI_pixel": 83, "FMI_dct": 63, "FMI_w": 63,
    "Nabf": 83, "SCD": 63, "SSIM_a": 83, "MS_SSIM": 63, "EPI_a": 16,
}  # fmt: skip
"""Published rows of each metric: 706. `MI` as it is defined was never published."""

TOLERANCE = 1e-12
"""Beyond the rounding of what was printed; the full doubles are met to 4e-14."""

OTHER_DEVICE_TOLERANCE = 1e-4
GPU_TOLERANCE = 2e-4
SMALLEST_PAIRS = (8, 11)


def test_every_published_metric_is_there() -> None:
    assert [name for name in METRICS if name != "MI"] == list(ROWS)
    assert sum(ROWS.values()) == 706


@pytest.mark.parametrize("metric", ROWS)
def test_metric_reproduces_every_published_row_to_its_last_digit(
    metric: str, shared_reference: Path
) -> None:
    rows = read_golden(shared_reference, metric)
    assert len(rows) == ROWS[metric]
    misses = [
        f"{row.method} {row.pair}: {value:.16f} instead of {row.value}"
        for row, value in score_rows(shared_reference, metric, rows)
        if not abs(value - row.value) <= row.rounding + TOLERANCE
    ]
    assert misses == []


@pytest.mark.parametrize("metric", ROWS)
def test_tensor_code_for_other_devices_reproduces_published_rows(
    metric: str, shared_reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "use_kernels", lambda images: False)
    rows = [row for row in read_golden(shared_reference, metric) if row.pair in SMALLEST_PAIRS]
    assert len(rows) >= 2
    misses = [
        f"{row.method} {row.pair}: {value:.6f} instead of {row.value}"
        for row, value in score_rows(shared_reference, metric, rows)
        if not abs(value - row.value) <= OTHER_DEVICE_TOLERANCE
    ]
    assert misses == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("metric", ROWS)
def test_metric_on_a_gpu_reproduces_every_published_row(
    metric: str, shared_reference: Path
) -> None:
    rows = read_golden(shared_reference, metric)
    misses = [
        f"{row.method} {row.pair}: {value:.6f} instead of {row.value}"
        for row, value in score_rows(shared_reference, metric, rows, device="cuda")
        if not abs(value - row.value) <= GPU_TOLERANCE
    ]
    assert misses == []


def score_rows(
    reference: Path, metric: str, rows: list[GoldenRow], device: str = "cpu"
) -> list[tuple[GoldenRow, float]]:
    """Compute the rows' values, the fused images of one pair as one batch."""
    pairs: dict[int, list[GoldenRow]] = defaultdict(list)
    for row in rows:
        pairs[row.pair].append(row)
    values: list[tuple[GoldenRow, float]] = []
    for pair, group in pairs.items():
        fused = np.stack([read_gray(reference / "fused" / r.method / f"{pair}.png") for r in group])
        ir, vis = (np.stack([image] * len(group)) for image in read_sources(reference, pair))
        images = [torch.from_numpy(stack).unsqueeze(1).to(device) for stack in (ir, vis, fused)]
        scores = METRICS[metric].compute(*images)
        values += [(row, scores[index].item()) for index, row in enumerate(group)]
    return values
