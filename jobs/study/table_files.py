"""The files of tables: LaTeX and Markdown as papers print them, CSV with all digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from jobs.comparison import Rank
from jobs.escaping import escape_latex, escape_markdown
from jobs.metric_text import UNDEFINED, metric_heading, percent
from jobs.study.settings import PublishedRow, StatisticsSettings
from jobs.study.statistics import (
    ALL_METRICS,
    CollectionStatistics,
    JudgedComparison,
    StudyStatistics,
)
from jobs.study.tables import (
    CollectionTable,
    TableRow,
    p_text,
    printed_value,
    table_notes,
    tabulate,
)

_LATEX_ARROWS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "": ""}
_LATEX_RANKS: dict[Rank | None, str] = {
    "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", None: "{}",
}  # fmt: skip
_MARKDOWN_RANKS: dict[Rank | None, str] = {
    "best": "**{}**", "second": "<ins>{}</ins>", None: "{}",
}  # fmt: skip


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
    notes = " ".join(escape_latex(note) for note in table_notes(table, settings)).replace(
        "±", r"$\pm$"
    )
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
    notes = (escape_markdown(note) for note in table_notes(table, settings))
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
