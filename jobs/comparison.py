"""Comparison of runs: their means per metric, with the best two marked where that is fair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from fusion_core.metrics import METRICS, find_metric
from jobs.metric_text import value_text
from jobs.summary import ALL_SUBSETS, MetricSummary, SubsetSummary, Summary

Rank = Literal["best", "second"]
Key = TypeVar("Key", bound=Hashable)
_Labelled = tuple[str, Summary]


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean in the table of a comparison."""

    statistics: MetricSummary
    compared: bool = True
    """False if it is the mean over other pairs than those of most runs."""
    rank: Rank | None = None
    """None also for equal means of all runs, and if only one run can be compared."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run, or one subset of a run, in the table of a comparison."""

    run: str
    subset: str
    scored: int
    """Number of pairs with scores."""
    total: int
    """Number of pairs in the manifest."""
    cells: dict[str, Cell]
    """The metrics of the run."""

    @property
    def count(self) -> str:
        """The number of pairs with scores, with the total unless it is the same: `20/21`."""
        return f"{self.scored}" if self.scored == self.total else f"{self.scored}/{self.total}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs of one collection, side by side."""

    collection: str
    metrics: tuple[str, ...]
    """The metrics of all runs, in the order of their columns."""
    runs: tuple[tuple[str, Summary], ...]
    """The runs under their names in the table."""
    rows: tuple[Row, ...]
    """The runs subset by subset; `(all)` first."""


def compare(summaries: Sequence[Summary], labels: Sequence[str] | None = None) -> list[Comparison]:
    """Compare runs, those of each collection with each other.

    Runs are of one collection if it has the same name or the same pairs. For each subset and metric
    the best mean, and of three or more the second best, are marked among the means over the same
    pairs. Means that are equal as printed have the same rank, and after two best ones there is no
    second.

    Args:
        summaries: The summaries of the runs.
        labels: Names of the runs in the table; by default their own.

    Returns:
        One comparison per collection, in the order of the runs.
    """
    collections: list[list[_Labelled]] = []
    for labelled in zip(labels or [summary.run for summary in summaries], summaries, strict=True):
        related = (found for found in collections if _is_related(labelled, found))
        group = next(related, None)
        if group is None:
            collections.append([labelled])
        else:
            group.append(labelled)
    return [_compare_collection(group) for group in collections]


def _is_related(labelled: _Labelled, others: Iterable[_Labelled]) -> bool:
    summary = labelled[1]
    return any(
        summary.collection == other.collection or _have_equal_pairs(summary, other)
        for _, other in others
    )


def _have_equal_pairs(summary: Summary, other: Summary) -> bool:
    scores, others = summary.subsets[0].metrics, other.subsets[0].metrics
    return any(
        scores[name].count and scores[name].pairs_digest == others[name].pairs_digest
        for name in scores.keys() & others.keys()
    )


def _compare_collection(runs: Sequence[_Labelled]) -> Comparison:
    given = dict.fromkeys(name for _, s in runs for name in s.subsets[0].metrics)
    metrics = [name for name in METRICS if name in given]
    metrics += [name for name in given if name not in METRICS]
    subsets = sorted({part.subset for _, s in runs for part in s.subsets} - {ALL_SUBSETS})
    rows: list[Row] = []
    for subset in (ALL_SUBSETS, *subsets):
        parts = [
            _row(label, part) for label, s in runs for part in s.subsets if part.subset == subset
        ]
        rows += _rank(parts, metrics)
    names = dict.fromkeys(summary.collection for _, summary in runs)
    return Comparison(", ".join(names), tuple(metrics), tuple(runs), tuple(rows))


def _row(label: str, part: SubsetSummary) -> Row:
    cells = {name: Cell(statistics) for name, statistics in part.metrics.items()}
    return Row(label, part.subset, part.count - part.failed, part.total, cells)


def _rank(rows: Sequence[Row], metrics: Iterable[str]) -> list[Row]:
    """Return the rows of one subset with the ranks of their cells."""
    ranked = [dict(row.cells) for row in rows]
    for metric in metrics:
        known = {
            number: row.cells[metric]
            for number, row in enumerate(rows)
            if metric in row.cells and row.cells[metric].statistics.mean is not None
        }
        for number, cell in _rank_cells(metric, known).items():
            ranked[number][metric] = cell
    return [replace(row, cells=cells) for row, cells in zip(rows, ranked, strict=True)]


def _rank_cells(metric: str, cells: dict[int, Cell]) -> dict[int, Cell]:
    runs = Counter(cell.statistics.pairs_digest for cell in cells.values())
    if not runs:
        return {}
    counts = {cell.statistics.pairs_digest: cell.statistics.count for cell in cells.values()}
    same_pairs = max(runs, key=lambda digest: (runs[digest], counts[digest]))
    fair = {n: cell for n, cell in cells.items() if cell.statistics.pairs_digest == same_pairs}
    ranks = rank_as_printed(metric, {n: cell.statistics.mean for n, cell in fair.items()})
    return {
        number: replace(cell, compared=number in fair, rank=ranks.get(number))
        for number, cell in cells.items()
    }


def rank_as_printed(metric: str, means: Mapping[Key, float | None]) -> dict[Key, Rank]:
    """Return which means are best and, of three or more, second best.

    Means that are equal as printed have the same rank, and after two best ones there is no second.

    Args:
        metric: Name of the metric.
        means: The means that can be compared, by anything.

    Returns:
        The ranks of those that have one; none if all means are equal or no direction is better.
    """
    printed = {
        key: float(value_text(metric, mean)) for key, mean in means.items() if mean is not None
    }
    known = find_metric(metric)
    higher_is_better = None if known is None else known.higher_is_better
    ordered = sorted(printed.values(), reverse=bool(higher_is_better))
    if higher_is_better is None or not ordered or ordered[0] == ordered[-1]:
        return {}
    places: dict[float, Rank] = {ordered[1]: "second"} if len(ordered) > 2 else {}
    places[ordered[0]] = "best"  # instead of "second" if two are best
    return {key: places[mean] for key, mean in printed.items() if mean in places}


def comparison_notes(comparison: Comparison) -> Iterator[str]:
    """Yield what a reader of the table must know about single runs."""
    for label, summary in comparison.runs:
        if not summary.complete:
            yield f"{label} is unfinished: {summary.rows} of {summary.total_rows} pairs have a row"
    for row in comparison.rows:
        counts = {name: cell.statistics.count for name, cell in row.cells.items()}
        few = [f"{name} (n = {count})" for name, count in counts.items() if count < row.scored]
        if few and row.subset == ALL_SUBSETS:
            yield f"{row.run} has pairs without a value of {', '.join(few)}"
