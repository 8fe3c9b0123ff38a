"""Exact sums over whole images, from which errors and correlations follow, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fusion_core.compiled import dispatch
from fusion_core.metrics.base import ScoredBatch


class Covariances(NamedTuple):
    """Variances and covariances of A, B and F of one pair, times the square of the pixels: exact.

    Whole numbers of Python have any number of digits.
    """

    aa: int
    bb: int
    ff: int
    af: int
    bf: int
    ab: int

    def of_differences(self) -> tuple[float, float]:
        """Return corr(F - B, A) and corr(F - A, B)."""
        return (
            correlation(self.af - self.ab, self.ff + self.bb - 2 * self.bf, self.aa),
            correlation(self.bf - self.ab, self.ff + self.aa - 2 * self.af, self.bb),
        )

    def with_fused(self) -> tuple[float, float]:
        """Return corr(F, A) and corr(F, B)."""
        return (
            correlation(self.af, self.ff, self.aa),
            correlation(self.bf, self.ff, self.bb),
        )


def correlation(covariance: int, x: int, y: int) -> float:
    """Return Pearson's correlation from exact variances, NaN if one of them is 0."""
    return covariance / math.sqrt(x * y) if x and y else math.nan


def covariances_of_levels(batch: ScoredBatch) -> list[Covariances]:
    """Compute the covariances of gray levels of each pair."""
    pixels = batch.height * batch.width
    return [_to_covariances(sums, pixels) for sums in batch.cached(level_sums)]


def covariances_of_laplacians(batch: ScoredBatch) -> list[Covariances]:
    """Compute the covariances of the Laplacians of each pair, with zeros outside the images."""
    from fusion_core.metrics.covariances_kernels import laplacian_sums

    pixels = batch.height * batch.width
    return [_to_covariances(sums, pixels) for sums in _sums(batch, laplacian_sums)]


def level_sums(batch: ScoredBatch) -> list[tuple[int, ...]]:
    """Sum A, B, F, AA, BB, FF, AF, BF and AB over all pixels of each pair."""
    from fusion_core.metrics.covariances_kernels import level_sums as kernel

    return _sums(batch, kernel)


def _sums(batch: ScoredBatch, kernel: Callable[..., Any]) -> list[tuple[int, ...]]:
    triples = dispatch.each_triple(batch.sources.gray, batch.fused.gray)
    return [kernel(*images) for images in triples]


def _to_covariances(sums: tuple[int, ...], pixels: int) -> Covariances:
    a, b, f, *products = (int(value) for value in sums)
    pairs = ((a, a), (b, b), (f, f), (a, f), (b, f), (a, b))
    return Covariances(
        *(pixels * product - x * y for product, (x, y) in zip(products, pairs, strict=True))
    )
