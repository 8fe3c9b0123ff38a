"""Every metric against the published scores of published fused images."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from support.reference_data import (
    PAIRS,
    GoldenRow,
    read_extended_golden,
    read_golden,
    read_gray,
    read_sources,
)
from support.reference_metrics import REFERENCES

from fusion_core.compiled import dispatch
from fusion_core.metrics import METRICS
from fusion_core.metrics.base import ScoredBatch, Sources
from fusion_core.metrics.scoring import score_batch

Code = Literal["kernels", "tensors", "cuda"]
"""What computes: the compiled kernels, or tensor operations on the CPU or on a GPU."""
Scores = dict[tuple[str, int, str], float]
"""By method, pair and metric."""

SOME_PAIRS = (3, 8, 11)
"""The smallest ones, and pair 3, whose scores depend most on the orders of sums."""
SMALLEST_PAIRS = (8, 11)

PUBLISHED_ROWS = 706
SLACK = 1e-12
"""Beyond the rounding of what was printed; the full doubles are met to 2e-14."""
OTHER_DEVICE_TOLERANCE = 1e-4
GPU_TOLERANCE = 2e-4

some_or_all_pairs = pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(SOME_PAIRS, id="some pairs"),
        pytest.param(tuple(PAIRS), id="all pairs", marks=pytest.mark.slow),
    ],
)


def all_rows(reference: Path) -> list[GoldenRow]:
    """Return the rows of both files whose metrics are registered."""
    rows = itertools.chain(read_golden(reference), read_extended_golden(reference))
    return [row for row in rows if row.metric in METRICS]


@functools.cache
def score_pair(reference: Path, pair: int, code: Code = "kernels") -> Scores:
    """Compute all metrics of a pair's fused images, as one batch of all methods."""
    device = "cuda" if code == "cuda" else "cpu"
    methods = sorted({row.method for row in all_rows(reference) if row.pair == pair})
    fused = np.stack([read_gray(reference / "fused" / m / f"{pair}.png") for m in methods])
    ir, vis = (np.stack([image] * len(methods)) for image in read_sources(reference, pair))
    images = [torch.from_numpy(stack).unsqueeze(1).to(device) for stack in (ir, vis, fused)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "use_kernels", lambda images: code == "kernels")
        values = score_batch(ScoredBatch(Sources(*images[:2]), images[2]), list(METRICS)).tolist()
    return {
        (method, pair, metric): value
        for metric, row in zip(METRICS, values, strict=True)
        for method, value in zip(methods, row, strict=True)
    }


def misses(rows: Iterable[GoldenRow], reference: Path, code: Code = "kernels") -> list[str]:
    """Compare computed scores with known ones, and describe those that are off."""
    scored = (
        (row, score_pair(reference, row.pair, code)[row.method, row.pair, row.metric])
        for row in rows
    )
    return [
        f"{row.metric} of {row.method} {row.pair}: {value:.16g} instead of {row.value:.16g}"
        for row, value in scored
        if not abs(value - row.value) <= row.tolerance
    ]


def test_every_published_score_belongs_to_a_metric(shared_reference: Path) -> None:
    rows = read_golden(shared_reference)
    assert len(rows) == PUBLISHED_ROWS
    assert {row.metric for row in rows} <= set(METRICS)


def test_every_metric_has_independent_values(shared_reference: Path) -> None:
    tested = {row.metric for row in all_rows(shared_reference)} | set(REFERENCES)
    assert {name for name, m in METRICS.items() if not m.needs_reference} <= tested


@some_or_all_pairs
def test_metrics_reproduce_every_published_score_to_its_last_digit(
    shared_reference: Path, pairs: tuple[int, ...]
) -> None:
    rows = [row for row in read_golden(shared_reference) if row.pair in pairs]
    assert {row.metric for row in rows} == {row.metric for row in read_golden(shared_reference)}
    rows = [row._replace(tolerance=row.tolerance + SLACK) for row in rows]
    assert misses(rows, shared_reference) == []


@some_or_all_pairs
def test_metrics_reproduce_scores_by_the_original_programs(
    shared_reference: Path, pairs: tuple[int, ...]
) -> None:
    rows = [r for r in read_extended_golden(shared_reference) if r.metric in METRICS]
    assert misses([row for row in rows if row.pair in pairs], shared_reference) == []


def test_tensor_code_for_other_devices_reproduces_known_scores(
    shared_reference: Path,
) -> None:
    rows = [row for row in all_rows(shared_reference) if row.pair in SMALLEST_PAIRS]
    rows = [row._replace(tolerance=OTHER_DEVICE_TOLERANCE) for row in rows]
    assert {row.metric for row in rows} == {row.metric for row in all_rows(shared_reference)}
    assert misses(rows, shared_reference, "tensors") == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_metrics_on_a_gpu_reproduce_every_known_score(shared_reference: Path) -> None:
    rows = [row._replace(tolerance=GPU_TOLERANCE) for row in all_rows(shared_reference)]
    assert misses(rows, shared_reference, "cuda") == []
