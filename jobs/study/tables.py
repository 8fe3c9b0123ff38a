"""The tables of a study: in LaTeX and Markdown as papers print them, in CSV with all digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from jobs.comparison import Rank, rank_as_printed
from jobs.escaping import escape_latex, escape_markdown
from jobs.metric_text import UNDEFINED, metric_heading, percent, value_text
from jobs.study.settings import PublishedRow, StatisticsSettings
from jobs.study.statistics import (
    ALL_METRICS,
    CollectionStatistics,
    JudgedComparison,
    MethodSummary,
    StudyStatistics,
)

_LATEX_ARROWS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "": ""}
_LATEX_RANKS: dict[Rank | None, str] = {
    "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", None: "{}",
}  # fmt: skip
_MARKDOWN_RANKS: dict[Rank | None, str] = {
    "best": "**{}**", "second": "<ins>{}</ins>", None: "{}",
}  # fmt: skip


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


def draw_tables(
    found: StudyStatistics, published: Sequence[PublishedRow], baseline: str | None
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every file of tables."""
    for each in found.collections:
        table = tabulate(each, published, len(found.collections) == 1)
        name = each.collection
        yield f"{name}.csv", _collection_csv(table)
        yield f"{name}.tex", _collection_latex(table, found.settings).encode()
        yield f"{name}.md", _collection_markdown(table, found.settings).encode()
        yield f"{name}-pairs.csv", _pairs_csv(each)
        ranks = list(_rank_lines(each))
        yield f"{name}-ranks.csv", _csv(("scope", "method", "rank", "low", "high", "first"), ranks)
        yield f"{name}-ranks.tex", _ranks_latex(each, found.settings).encode()
        yield f"{name}-pairwise.csv", _pairwise_csv(each)
        first = baseline if baseline in each.labels else next(iter(each.order()), None)
        if first is not None:
            yield f"{name}-pairwise.tex", _pairwise_latex(each, first, found.settings).encode()


def _collection_csv(table: CollectionTable) -> bytes:
    headings = ["method", "published"]
    for metric in table.metrics:
        headings += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_n"]
    lines = []
    for row in table.rows:
        line: list[object] = [row.label, row.published.source if row.published else ""]
        for metric in table.metrics:
            cell = row.cells.get(metric)
            if cell is None:
                value = row.published.values.get(metric) if row.published else None
                line += [value, None, None, None]
            else:
                line += [cell.mean, cell.ci_low, cell.ci_high, cell.n]
        lines.append(line)
    return _csv(headings, lines)


def _csv(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(["" if cell is None else cell for cell in line] for line in lines)
    return buffer.getvalue().encode()


def _pairs_csv(each: CollectionStatistics) -> bytes:
    """Return the values of every pair, one line per pair and method."""
    scores = each.scores
    pairs, labels = len(scores.pair_ids), len(scores.labels)
    of_pair = np.repeat(np.arange(pairs), labels)
    columns: dict[str, object] = {
        "pair_id": pa.array(scores.pair_ids).take(pa.array(of_pair)),
        "subset": pa.array(scores.subsets).take(pa.array(of_pair)),
        "method": pa.array(list(scores.labels) * pairs),
        "failed": pa.array(scores.failed.ravel()),
    }
    for number, metric in enumerate(scores.metrics):
        values = scores.values[:, :, number].ravel()
        columns[metric] = pa.array(values, mask=np.isnan(values))
    buffer = io.BytesIO()
    arrow_csv.write_csv(pa.table(columns), buffer)
    return buffer.getvalue()


def _caption(table: CollectionTable, settings: StatisticsSettings) -> str:
    counts = set(table.n.values())
    number = f"n = {counts.pop()}" if len(counts) == 1 else f"n ≤ {table.pairs}"
    return f"{table.collection}: means over pairs, {number}; best bold, second best underlined"


def _notes(table: CollectionTable, settings: StatisticsSettings) -> Iterator[str]:
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


def _label(row: TableRow) -> str:
    marks = {"untrained": " [untrained]", "": ""}
    note = marks.get(row.note, " [not compared]")
    return f"{row.label}{' (published)' if row.published else note}"


def _collection_latex(table: CollectionTable, settings: StatisticsSettings) -> str:
    headings = [_latex_heading(metric) for metric in table.metrics]
    lines = []
    for number, row in enumerate(table.rows):
        if row.published and not table.rows[number - 1].published:
            lines.append(r"\midrule")
        texts = []
        for metric in table.metrics:
            value = printed_value(row, metric)
            text = "--" if value == UNDEFINED else _LATEX_RANKS[row.ranks.get(metric)].format(value)
            texts.append(text)
        label = escape_latex(_label(row))
        if row.published:
            label = rf"\textit{{{label}}}"
        lines.append(rf"{label} & {' & '.join(texts)} \\")
    columns = len(headings) + 1
    notes = " ".join(escape_latex(note) for note in _notes(table, settings)).replace("±", r"$\pm$")
    return _latex(
        escape_latex(_caption(table, settings)).replace("≤", r"$\leq$"),
        "l" + "r" * len(headings),
        ["Method", *headings],
        [*lines, r"\bottomrule", rf"\multicolumn{{{columns}}}{{@{{}}p{{\linewidth}}@{{}}}}"
         rf"{{\footnotesize {notes}}} \\"],
    )  # fmt: skip


def _latex(caption: str, columns: str, headings: Sequence[str], lines: Sequence[str]) -> str:
    end = [] if any(line == r"\bottomrule" for line in lines) else [r"\bottomrule"]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            rf"{' & '.join(headings)} \\",
            r"\midrule",
            *lines,
            *end,
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_heading(metric: str) -> str:
    arrow = metric_heading(metric)[len(metric) :]
    return f"{escape_latex(metric)}{_LATEX_ARROWS[arrow]}"


def _collection_markdown(table: CollectionTable, settings: StatisticsSettings) -> str:
    headings = ["method", *(escape_markdown(metric_heading(m)) for m in table.metrics)]
    rows = [
        [
            escape_markdown(_label(row)),
            *(
                _MARKDOWN_RANKS[row.ranks.get(metric)].format(printed_value(row, metric))
                for metric in table.metrics
            ),
        ]
        for row in table.rows
    ]
    rule = [":--", *["--:"] * len(table.metrics)]
    lines = [f"| {' | '.join(line)} |" for line in (headings, rule, *rows)]
    notes = (escape_markdown(note) for note in _notes(table, settings))
    caption = escape_markdown(_caption(table, settings))
    return "\n".join([caption, "", *lines, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def _rank_lines(each: CollectionStatistics) -> Iterator[Sequence[object]]:
    for scope in (ALL_METRICS, *each.metrics):
        found = each.intervals(scope)
        if found is None:
            continue
        for place in np.argsort(found.mean, kind="stable"):
            numbers = (found.mean, found.low, found.high, found.p_first)
            yield (scope, each.labels[place], *(float(column[place]) for column in numbers))


def _ranks_latex(each: CollectionStatistics, settings: StatisticsSettings) -> str:
    """Return mean ranks, methods by metrics, with the overall rank and its interval first."""
    overall = each.ranking.overall
    scopes = [metric for metric in each.metrics if each.intervals(metric) is not None]
    lines = []
    for label in each.order() if overall is not None else ():
        assert overall is not None
        place = each.labels.index(label)
        texts = [
            f"{overall.mean[place]:.2f} [{overall.low[place]:.2f}, {overall.high[place]:.2f}]",
            f"{overall.p_first[place]:.2f}",
        ]
        for scope in scopes:
            found = each.intervals(scope)
            texts.append(f"{found.mean[place]:.2f}" if found is not None else "--")
        lines.append(rf"{escape_latex(label)} & {' & '.join(texts)} \\")
    headings = ["Method", "Overall", "P(first)", *map(escape_latex, scopes)]
    caption = (
        f"{each.collection}: mean ranks, 1 is best; overall with its "
        f"{percent(1 - settings.alpha)} interval"
    )
    return _latex(escape_latex(caption), "l" + "r" * (len(headings) - 1), headings, lines)


def _pairwise_csv(each: CollectionStatistics) -> bytes:
    headings = (
        "metric", "a", "b", "n", "wins_a", "ties", "wins_b", "hl_estimate", "hl_low", "hl_high",
        "rank_biserial", "w", "p", "p_holm", "p_bh", "exact", "verdict",
    )  # fmt: skip
    return _csv(headings, map(_pairwise_line, each.pairwise))


def _pairwise_line(row: JudgedComparison) -> Sequence[object]:
    f = row.found
    return (
        row.metric, f.a, f.b, f.n, f.wins_a, f.ties, f.wins_b, f.hl_estimate, f.hl_low, f.hl_high,
        f.rank_biserial, f.w, f.p, f.p_holm, row.p_bh, f.exact, row.verdict,
    )  # fmt: skip


def _pairwise_latex(each: CollectionStatistics, baseline: str, settings: StatisticsSettings) -> str:
    """Return the comparisons with the baseline: others minus baseline."""
    lines = []
    for row in each.pairwise:
        found = row.found
        if baseline not in (found.a, found.b):
            continue
        sign = 1 if found.b == baseline else -1
        other = found.a if found.b == baseline else found.b
        wins, losses = (found.wins_a, found.wins_b)[::sign]
        effect = "--" if found.rank_biserial is None else f"${sign * found.rank_biserial:+.2f}$"
        verdict = {"a": found.a, "b": found.b}.get(row.verdict)
        lines.append(
            " & ".join(
                (
                    escape_latex(row.metric),
                    escape_latex(other),
                    f"{found.n}",
                    f"{wins}/{found.ties}/{losses}",
                    effect,
                    p_text(row.p_corrected(settings.correction)).replace("<", "$<$"),
                    "--" if verdict is None else escape_latex(verdict),
                )
            )
            + r" \\"
        )
    caption = f"{each.collection}: methods compared with {baseline}"
    headings = ["Metric", "Method", "$n$", "W/T/L", "$r$", "$p$", "Better"]
    return _latex(escape_latex(caption), "llrrrrl", headings, lines)


def p_text(p: float | None) -> str:
    """Return a p-value as papers print it.

    >>> p_text(0.2034), p_text(2.9e-5), p_text(None)
    ('0.203', '<0.001', 'n < 6')
    """
    if p is None:
        return "n < 6"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
