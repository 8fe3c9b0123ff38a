"""Summaries of runs that were never computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.summary import ALL_SUBSETS, MetricSummary, SubsetSummary, Summary


def metric_summary(mean: float | None, **changed: Any) -> MetricSummary:
    """The statistics of a metric over 21 pairs, or with other fields where given."""
    settings: dict[str, Any] = {"count": 21, "mean": mean, "pairs_digest": "all"}
    if mean is not None:
        settings |= {"ci_low": mean - 0.25, "ci_high": mean + 0.25}
    return MetricSummary(**{**settings, **changed})


def subset_summary(
    subset: str, metrics: Mapping[str, MetricSummary], **changed: Any
) -> SubsetSummary:
    """A subset of 21 pairs, or with other fields where given."""
    settings = {"total": 21, "count": 21, "failed": 0}
    return SubsetSummary(subset=subset, metrics=dict(metrics), **{**settings, **changed})


def run_summary(run: str, *parts: SubsetSummary, **means: float | MetricSummary | None) -> Summary:
    """A run with these means of all pairs and with these further subsets."""
    metrics = {
        name: mean if isinstance(mean, MetricSummary) else metric_summary(mean)
        for name, mean in means.items()
    }
    return Summary(
        collection="TNO",
        run=run,
        method=run,
        fingerprint="f",
        trained=None,
        total_rows=21,
        rows=21,
        failed=0,
        failed_stages={},
        shards_digest="d",
        subsets=[subset_summary(ALL_SUBSETS, metrics), *parts],
    )
