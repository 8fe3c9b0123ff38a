"""The tables of a study: methods by metrics, with published rows and what a reader must know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from jobs.comparison import Rank, rank_as_printed
from jobs.metric_text import percent, value_text
from jobs.study.settings import PublishedRow, StatisticsSettings
from jobs.study.statistics import (
    CollectionStatistics,
    MethodSummary,
)


@dataclass(frozen=True)
class TableRow:
    """A method in the table of a collection."""

    label: str
    cells: dict[str, MethodSummary] = field(default_factory=dict)
    """By metric; empty of a published row."""
    ranks: dict[str, Rank] = field(default_factory=dict)
    """The metrics by which it is best or second best."""
    published: PublishedRow | None = None
    note: str = ""
    """`untrained`, or why it is not compared."""


@dataclass(frozen=True)
class CollectionTable:
    """Methods by metrics on one collection, the best overall rank first, published rows last."""

    collection: str
    metrics: tuple[str, ...]
    rows: tuple[TableRow, ...]
    n: dict[str, int]
    """Number of pairs of each metric."""
    pairs: int
    """Number of pairs of the collection."""

    def deviation(self, row: TableRow, metric: str) -> float | None:
        """Return a published value minus the computed one, if there are both."""
        if row.published is None or metric not in row.published.values:
            return None
        for other in self.rows:
            if other.label == row.label and other.published is None:
                mean = other.cells[metric].mean
                return None if mean is None else row.published.values[metric] - mean
        return None


def tabulate(
    each: CollectionStatistics, published: Iterable[PublishedRow], only_collection: bool
) -> CollectionTable:
    """Return the table of a collection.

    Args:
        each: Its statistics.
        published: Published rows of all collections.
        only_collection: Whether published rows without a collection belong to this one.
    """
    cells: dict[str, dict[str, MethodSummary]] = {}
    for summary in each.summary:
        cells.setdefault(summary.label, {})[summary.metric] = summary
    ranks = {
        metric: rank_as_printed(metric, {label: cells[label][metric].mean for label in each.labels})
        for metric in each.scores.metrics
    }
    untrained = {
        label
        for label, run in zip(each.scores.labels, each.scores.runs, strict=False)
        if run.origin.trained is False
    }
    rows = [
        TableRow(
            label,
            cells[label],
            {metric: found[label] for metric, found in ranks.items() if label in found},
            note="untrained" if label in untrained else "",
        )
        for label in each.order()
    ]
    rows += [
        TableRow(label, cells[label], note=f"not compared: {percent(share)} of its pairs failed")
        for label, share in each.disqualified.items()
    ]
    rows += [
        TableRow(row.label, published=row)
        for row in published
        if row.collection == each.collection or (row.collection is None and only_collection)
    ]
    return CollectionTable(
        each.collection, each.scores.metrics, tuple(rows), each.pairs, len(each.scores.pair_ids)
    )


def table_notes(table: CollectionTable, settings: StatisticsSettings) -> Iterator[str]:
    """Yield what a reader of the table must know."""
    few = [f"{metric} {count}" for metric, count in table.n.items() if count < table.pairs]
    if few:
        yield (
            f"Of {table.pairs} pairs, those count in which every compared method has a value: "
            f"{', '.join(few)}."
        )
    widths = {
        metric: max((_half_width(row.cells.get(metric)) or 0.0 for row in table.rows), default=0.0)
        for metric in table.metrics
    }
    texts = (f"{metric} ±{value_text(metric, width)}" for metric, width in widths.items())
    yield f"Widest {percent(1 - settings.alpha)} intervals of the means: {', '.join(texts)}."
    for row in table.rows:
        if row.note:
            yield f"{row.label}: {row.note}."
    yield from published_notes(table)


def published_notes(table: CollectionTable) -> Iterator[str]:
    """Yield from where the published rows are, one sentence for each publication."""
    sources: dict[str, list[str]] = {}
    for row in table.rows:
        if row.published:
            sources.setdefault(row.published.source, []).append(row.label)
    for source, labels in sources.items():
        yield f"As published in {source}: {', '.join(labels)}."


def _half_width(cell: MethodSummary | None) -> float | None:
    if cell is None or cell.ci_low is None or cell.ci_high is None:
        return None
    return (cell.ci_high - cell.ci_low) / 2


def printed_value(row: TableRow, metric: str) -> str:
    """Return the mean of a row, or its published value, with the digits of the metric."""
    if row.published is not None:
        return value_text(metric, row.published.values.get(metric))
    cell = row.cells.get(metric)
    return value_text(metric, None if cell is None else cell.mean)


def p_text(p: float | None) -> str:
    """Return a p-value as papers print it.

    >>> p_text(0.2034), p_text(2.9e-5), p_text(None)
    ('0.203', '<0.001', 'n < 6')
    """
    if p is None:
        return "n < 6"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
