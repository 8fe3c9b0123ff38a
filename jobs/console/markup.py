"""The table of a comparison as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fusion_core.metrics import find_metric
from jobs.comparison import Comparison, Rank, Row, comparison_notes
from jobs.console.printing import printable
from jobs.escaping import escape_latex, escape_markdown
from jobs.metric_text import UNDEFINED, value_text
from jobs.summary import ALL_SUBSETS


@dataclass(frozen=True, slots=True)
class _Markup:
    ranks: dict[Rank | None, str]
    other_pairs: str
    interval: str
    directions: dict[bool | None, str]
    undefined: str
    escape: Callable[[str], str]


_MARKDOWN = _Markup(
    ranks={"best": "**{}**", "second": "<ins>{}</ins>", None: "{}"},
    other_pairs="{} †",
    interval=" ±{}",
    directions={True: "↑", False: "↓", None: ""},
    undefined=UNDEFINED,
    escape=escape_markdown,
)
_LATEX = _Markup(
    ranks={"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", None: "{}"},
    other_pairs=r"{}$^\dagger$",
    interval=r" $\pm${}",
    directions={True: r"$\uparrow$", False: r"$\downarrow$", None: ""},
    undefined="--",
    escape=escape_latex,
)
_NOTE = "mean over other pairs, not compared"


def comparison_markdown(comparison: Comparison) -> str:
    """Return a comparison in Markdown: the best means bold, the second best underlined."""
    headings, *rows = _lines(comparison, _MARKDOWN)
    texts = len(headings) - len(comparison.metrics) - 1
    rule = [":--"] * texts + ["--:"] * (len(headings) - texts)
    lines = [f"| {' | '.join(line)} |" for line in (headings, rule, *rows)]
    notes = [_MARKDOWN.escape(note) for note in _notes(comparison, "†")]
    return "\n".join([*lines, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def comparison_latex(comparison: Comparison) -> str:
    r"""Return a comparison in LaTeX: the best means bold, the second best underlined.

    The table needs `\usepackage{booktabs}`; notes are comments.
    """
    headings, *rows = _lines(comparison, _LATEX)
    texts = len(headings) - len(comparison.metrics) - 1
    return "\n".join(
        [
            *(f"% {printable(note)}" for note in _notes(comparison, "dagger:")),
            rf"\begin{{tabular}}{{{'l' * texts}{'r' * (len(headings) - texts)}}}",
            r"\toprule",
            rf"{' & '.join(headings)} \\",
            r"\midrule",
            *(rf"{' & '.join(row)} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _notes(comparison: Comparison, mark: str) -> Iterator[str]:
    yield f"{comparison.collection}; means ± half their 95 % interval"
    if not all(cell.compared for row in comparison.rows for cell in row.cells.values()):
        yield f"{mark} {_NOTE}"
    yield from comparison_notes(comparison)


def _lines(comparison: Comparison, markup: _Markup) -> Iterator[list[str]]:
    """Yield the cells of the heading and of each row."""
    subsets = any(row.subset != ALL_SUBSETS for row in comparison.rows)
    headings = [f"{markup.escape(name)}{_direction(name, markup)}" for name in comparison.metrics]
    yield [*(["subset"] if subsets else []), "run", "n", *headings]
    for row in comparison.rows:
        texts = [markup.escape(text) for text in ([row.subset] if subsets else []) + [row.run]]
        yield [*texts, row.count, *(_cell(name, row, markup) for name in comparison.metrics)]


def _direction(name: str, markup: _Markup) -> str:
    metric = find_metric(name)
    return "" if metric is None else markup.directions[metric.higher_is_better]


def _cell(name: str, row: Row, markup: _Markup) -> str:
    cell = row.cells.get(name)
    if cell is None or cell.statistics.mean is None:
        return markup.undefined
    text = markup.ranks[cell.rank].format(value_text(name, cell.statistics.mean))
    if row.subset == ALL_SUBSETS and cell.statistics.half_width is not None:
        text += markup.interval.format(value_text(name, cell.statistics.half_width))
    return text if cell.compared else markup.other_pairs.format(text)
