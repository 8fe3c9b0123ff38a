"""The statistics of a study: its scores compared by the functions of `fusion_core.statistics`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fusion_core.errors import InvalidValueError
from fusion_core.metrics import METRICS, find_metric
from fusion_core.statistics import (
    Comparison,
    Friedman,
    MetricCorrelation,
    Ranking,
    RankIntervals,
    Reason,
    SubsetShares,
    average_groups,
    benjamini_hochberg,
    bootstrap_ranks,
    choose_pairs,
    cluster_intervals,
    compare_methods,
    complete_blocks,
    correlate_metrics,
    decide,
    disqualified_methods,
    friedman,
    keep_complete,
    leave_one_metric_out,
    metric_agreement,
    orient,
    pair_quality,
    pair_ranks,
    rank_methods,
    resemble_sequences,
    subset_shares,
    without_aliases,
)
from jobs.study.scores import CollectionScores
from jobs.study.settings import StatisticsSettings

ALL_METRICS = "all"
ALL_COLLECTIONS = "(all)"


@dataclass(frozen=True)
class MethodSummary:
    """One metric of one method on a collection."""

    metric: str
    label: str
    n: int
    """Pairs in which all compared methods have a value; its own ones if it is not compared."""
    n_failed: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    median: float | None
    std: float | None
    rank_mean: float | None
    compared: bool


@dataclass(frozen=True)
class JudgedComparison:
    """Two methods compared by one metric, corrected over the whole study, and the verdict."""

    metric: str
    found: Comparison
    p_bh: float | None = None
    verdict: str = "none"

    def p_corrected(self, correction: str) -> float | None:
        """Return the p-value that the verdict follows."""
        corrected = {"holm": self.found.p_holm, "bh": self.p_bh, "none": self.found.p}
        return corrected[correction]


@dataclass(frozen=True)
class PairSummary:
    """What the metrics say about the methods in one pair."""

    pair_id: str
    agreement_w: float | None
    best: str | None
    worst: str | None
    spread: float | None
    """Mean rank of the worst method minus that of the best."""
    reason: Reason


@dataclass(frozen=True)
class CollectionStatistics:
    """The comparison of methods on one collection."""

    scores: CollectionScores
    labels: tuple[str, ...]
    """The methods that are compared."""
    disqualified: dict[str, float]
    """Methods that failed for too many pairs, and the share of failed pairs."""
    metrics: tuple[str, ...]
    """The metrics that have a better direction."""
    counted: tuple[str, ...]
    """Those that count in the overall ranking: no aliases, and none without blocks."""
    grouped: bool
    """Whether the blocks are groups of pairs."""
    sequences: bool
    """Whether the groups resemble sequences, but the blocks are pairs."""
    blocks: dict[str, int]
    """Number of complete blocks of each metric."""
    pairs: dict[str, int]
    """Number of pairs in which all compared methods have a value."""
    summary: tuple[MethodSummary, ...]
    omnibus: dict[str, Friedman]
    pairwise: tuple[JudgedComparison, ...]
    ranking: Ranking
    leave_one_out: dict[str, tuple[str, ...]]
    """The best methods if one metric is left out, by the metric."""
    correlations: tuple[MetricCorrelation, ...]
    sensitivity: tuple[SubsetShares, ...]
    looks: tuple[PairSummary, ...]

    @property
    def collection(self) -> str:
        """Name of the collection."""
        return self.scores.collection

    def order(self) -> list[str]:
        """Return the compared methods, the best overall rank first."""
        overall = self.ranking.overall
        if overall is None:
            return list(self.labels)
        places = np.argsort(overall.mean, kind="stable")
        return [self.labels[place] for place in places]

    def intervals(self, scope: str) -> RankIntervals | None:
        """Return the ranks by a metric, or by all metrics."""
        if scope == ALL_METRICS:
            return self.ranking.overall
        return self.ranking.metrics[self.metrics.index(scope)]

    def judged(self, metric: str) -> list[JudgedComparison]:
        """Return the comparisons by a metric."""
        return [each for each in self.pairwise if each.metric == metric]


@dataclass(frozen=True)
class StudyStatistics:
    """The comparison of methods on all collections."""

    settings: StatisticsSettings
    collections: tuple[CollectionStatistics, ...]
    across: Ranking | None
    """Ranks of the collections' means; None for fewer than two collections in common."""
    across_labels: tuple[str, ...] = ()
    """The methods that are compared on all collections."""
    across_metrics: tuple[str, ...] = ()


def direction_of(metric: str) -> bool | None:
    """Return whether a higher value is better; None if neither is, or if the metric is unknown."""
    found = find_metric(metric)
    return None if found is None else found.higher_is_better


def aliases() -> dict[str, str]:
    """Return the metric that orders images in the same way, for each metric that is an alias."""
    return {name: metric.alias_of for name, metric in METRICS.items() if metric.alias_of}


def compare_study(
    collections: Sequence[CollectionScores], settings: StatisticsSettings, pictures: int = 6
) -> StudyStatistics:
    """Compare methods on every collection, and correct for the number of all tests.

    Args:
        collections: The scores of each collection.
        settings: How methods are compared.
        pictures: Number of pairs to choose for looking at.
    """
    compared = [compare_collection(scores, settings, pictures) for scores in collections]
    every = [each for found in compared for each in found.pairwise]
    corrected = iter(benjamini_hochberg([each.found.p for each in every]))
    judged = [
        replace(
            found,
            pairwise=tuple(_judge(each, next(corrected), settings) for each in found.pairwise),
        )
        for found in compared
    ]
    labels = tuple(
        label for label in judged[0].labels if all(label in found.labels for found in judged)
    )
    metrics = tuple(
        name for name in judged[0].counted if all(name in found.counted for found in judged)
    )
    across = None
    if len(judged) > 1 and len(labels) > 1 and metrics:
        means = np.array([_collection_means(found, labels, metrics) for found in judged])
        ranks = rank_methods(means, _directions(metrics))
        everything = np.ones(len(metrics), dtype=np.bool_)
        across = bootstrap_ranks(
            ranks, everything, resamples=settings.resamples, seed=settings.seed
        )
    return StudyStatistics(settings, tuple(judged), across, labels, metrics)


def compare_collection(
    scores: CollectionScores, settings: StatisticsSettings, pictures: int = 6
) -> CollectionStatistics:
    """Compare methods on one collection; `verdict` and `p_bh` are left to `compare_study`.

    Raises:
        InvalidValueError: The blocks are to be groups, but the collection has no groups.
    """
    grouped = settings.block == "group"
    if grouped and len(set(scores.subsets)) < 2:
        raise InvalidValueError(
            f"{scores.collection} has no groups: its pairs have no subsets; use --block pair"
        )
    metrics = [name for name in scores.metrics if direction_of(name) is not None]
    directions = _directions(metrics)
    out = disqualified_methods(scores.failed, settings.max_failure_rate)
    kept = [place for place, bad in enumerate(out) if not bad]
    labels = tuple(scores.labels[place] for place in kept)
    own = scores.keep_metrics(metrics).values[:, kept, :]
    values = keep_complete(own)
    blocks = average_groups(values, scores.subsets)[1] if grouped else values
    names = aliases()
    defined = _count(blocks)
    counted = without_aliases(metrics, names) & (defined > 0)
    ranking = Ranking((None,) * len(metrics), None)
    if labels:
        ranks = rank_methods(blocks, directions)
        ranking = bootstrap_ranks(ranks, counted, resamples=settings.resamples, seed=settings.seed)
    means = _mean_ranks(ranking, len(labels), counted)
    counted_names = tuple(name for name, used in zip(metrics, counted, strict=True) if used)
    return CollectionStatistics(
        scores=scores,
        labels=labels,
        disqualified={
            scores.labels[place]: float(scores.failed[:, place].mean())
            for place, bad in enumerate(out)
            if bad
        },
        metrics=tuple(metrics),
        counted=counted_names,
        grouped=grouped,
        sequences=not grouped and resemble_sequences(scores.subsets),
        blocks=dict(zip(metrics, map(int, defined), strict=True)),
        pairs=dict(zip(metrics, map(int, _count(values)), strict=True)),
        summary=tuple(_summarize(scores, labels, ranking, metrics, settings)),
        omnibus={m: friedman(blocks[:, :, n]) for n, m in enumerate(metrics)},
        pairwise=tuple(_compare(blocks, labels, metrics, counted, settings)),
        ranking=ranking,
        leave_one_out=_leave_one_out(means, counted_names, labels),
        correlations=correlate_metrics(blocks, metrics, directions, names) if labels else (),
        sensitivity=subset_shares(means, seed=settings.seed) if len(labels) > 1 else (),
        looks=tuple(_look(scores, labels, values, directions, counted, pictures)) if labels else (),
    )


def _compare(
    blocks: NDArray[np.float64],
    labels: Sequence[str],
    metrics: Sequence[str],
    counted: NDArray[np.bool_],
    settings: StatisticsSettings,
) -> Iterable[JudgedComparison]:
    """Compare every two methods by each metric, and by their mean ranks over all of them."""
    directions = _directions(metrics)
    if not labels:
        return
    # Rounded, because rounding errors would separate equal means.
    ranks = pair_ranks(rank_methods(blocks, directions)[:, :, counted]).round(9)
    for found in compare_methods(ranks, labels, False, alpha=settings.alpha):
        yield JudgedComparison(ALL_METRICS, found)
    for n, metric in enumerate(metrics):
        values, direction = blocks[:, :, n], directions[n]
        for found in compare_methods(values, labels, direction, alpha=settings.alpha):
            yield JudgedComparison(metric, found)


def _count(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the complete blocks of each metric: none without methods."""
    if not values.shape[1]:
        return np.zeros(values.shape[2], dtype=np.int64)
    counts: NDArray[np.int64] = complete_blocks(values).sum(axis=0)
    return counts


def _directions(metrics: Iterable[str]) -> list[bool]:
    return [bool(direction_of(name)) for name in metrics]


def _mean_ranks(ranking: Ranking, methods: int, counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean ranks by the counted metrics: `(methods, metrics)`."""
    columns = [
        found.mean for found, used in zip(ranking.metrics, counted, strict=True) if found and used
    ]
    return np.stack(columns, axis=1) if columns else np.empty((methods, 0))


def _leave_one_out(
    means: NDArray[np.float64], metrics: Sequence[str], labels: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    if len(metrics) < 2 or not len(labels):
        return {}
    best = leave_one_metric_out(means)
    return {
        metric: tuple(label for label, first in zip(labels, column, strict=True) if first)
        for metric, column in zip(metrics, best.T, strict=True)
    }


def _judge(
    each: JudgedComparison, p_bh: float | None, settings: StatisticsSettings
) -> JudgedComparison:
    known = replace(each, p_bh=p_bh)
    direction = each.metric != ALL_METRICS and bool(direction_of(each.metric))
    p = known.p_corrected(settings.correction)
    return replace(known, verdict=decide(each.found, p, direction, settings.alpha))


def _summarize(
    scores: CollectionScores,
    labels: Sequence[str],
    ranking: Ranking,
    ranked: Sequence[str],
    settings: StatisticsSettings,
) -> Iterable[MethodSummary]:
    """Describe every method by every metric, over the pairs that all compared methods have."""
    places = [scores.labels.index(label) for label in labels]
    complete = keep_complete(scores.values[:, places, :])
    values = scores.values.copy()
    values[:, places, :] = complete
    pairs, methods, metrics = values.shape
    intervals = cluster_intervals(
        values.reshape(pairs, methods * metrics),
        scores.subsets if settings.block == "group" else scores.pair_ids,
        resamples=settings.resamples,
        seed=settings.seed,
        confidence=1.0 - settings.alpha,
    )
    for number, label in enumerate(scores.labels):
        compared = label in labels
        for column, metric in enumerate(scores.metrics):
            known = values[~np.isnan(values[:, number, column]), number, column]
            interval = intervals[number * metrics + column]
            found = ranking.metrics[ranked.index(metric)] if metric in ranked else None
            yield MethodSummary(
                metric=metric,
                label=label,
                n=len(known),
                n_failed=int(scores.failed[:, number].sum()),
                mean=float(known.mean()) if len(known) else None,
                ci_low=interval[0] if interval else None,
                ci_high=interval[1] if interval else None,
                median=float(np.median(known)) if len(known) else None,
                std=float(known.std(ddof=1)) if len(known) > 1 else None,
                rank_mean=float(found.mean[labels.index(label)]) if compared and found else None,
                compared=compared,
            )


def _look(
    scores: CollectionScores,
    labels: Sequence[str],
    values: NDArray[np.float64],
    directions: Sequence[bool],
    counted: NDArray[np.bool_],
    pictures: int,
) -> Iterable[PairSummary]:
    """Describe each pair by the ranks of the methods in it, and choose pairs to look at."""
    kept = values[:, :, counted]
    chosen = [way for way, used in zip(directions, counted, strict=True) if used]
    ranks = rank_methods(kept, chosen)
    agreement, means = metric_agreement(ranks), pair_ranks(ranks)
    reasons = choose_pairs(pair_quality(orient(kept, chosen)), agreement, pictures)
    for place, pair_id in enumerate(scores.pair_ids):
        known = len(labels) > 0 and not np.isnan(means[place]).any()
        best = labels[int(np.argmin(means[place]))] if known else None
        worst = labels[int(np.argmax(means[place]))] if known else None
        yield PairSummary(
            pair_id=pair_id,
            agreement_w=None if np.isnan(agreement[place]) else float(agreement[place]),
            best=best,
            worst=worst,
            spread=float(np.ptp(means[place])) if known else None,
            reason=reasons[place],
        )


def _collection_means(
    found: CollectionStatistics, labels: Sequence[str], metrics: Sequence[str]
) -> list[list[float]]:
    means = {(each.label, each.metric): each.mean for each in found.summary}
    return [[float(means[label, metric] or 0.0) for metric in metrics] for label in labels]
