"""The table of a comparison on a terminal, in blocks of columns that fit its width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fusion_core.wording import count_of
from jobs.comparison import Comparison, Rank, Row, comparison_notes
from jobs.console.layout import text_width
from jobs.console.printing import print_lines, printable
from jobs.metric_text import UNDEFINED, metric_heading, value_text
from jobs.summary import ALL_SUBSETS

_GAP = 2
_LEAST_LABEL_WIDTH = 12
_MARKS: dict[Rank | None, str] = {"best": "*", "second": "+", None: ""}
_STYLES: dict[Rank | None, str] = {"best": "bold", "second": "underline", None: ""}
_OTHER_PAIRS = "!"
_INTERVAL = "±"


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the table: a row, or the heading of the rows of a subset."""

    label: str
    row: Row | None


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    cells: list[Text]
    most: int | None = None
    """Limit of its width."""

    @property
    def width(self) -> int:
        lines = [self.heading, *(line for cell in self.cells for line in cell.plain.splitlines())]
        width = max(map(cell_len, lines))
        return width if self.most is None else min(width, self.most)


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the means of runs, a run or subset per line, with marks of the best and notes.

    Below a mean over all pairs is the half-width of its 95 % interval.
    """
    print_lines(console, _title(comparison))
    lines, width = list(_lines(comparison)), text_width(console)
    labels = _labels([line.label for line in lines], max(_LEAST_LABEL_WIDTH, width // 3))
    columns = [_Column("n", [Text(line.row.count if line.row else "") for line in lines])]
    columns += [
        _Column(metric_heading(name), [_mean(name, line.row) for line in lines])
        for name in comparison.metrics
    ]
    for number, block in enumerate(_blocks(columns, width - labels.width)):
        if number:
            console.print()
        console.print(_table(labels, block), crop=False)
    print_lines(console, *_notes(comparison))


def _title(comparison: Comparison) -> str:
    runs = [label for label, _ in comparison.runs]
    totals = {summary.total_rows for _, summary in comparison.runs}
    title = runs[0] if len(runs) == 1 else f"{len(runs)} runs"
    pairs = f", {count_of(totals.pop(), 'pair')}" if len(totals) == 1 else ""
    return f"{comparison.collection}: {title}{pairs}"


def _lines(comparison: Comparison) -> Iterator[_Line]:
    subsets = dict.fromkeys(row.subset for row in comparison.rows)
    several = len(comparison.runs) > 1
    for subset in subsets:
        name = printable(subset) or "(no subset)"
        rows = [row for row in comparison.rows if row.subset == subset]
        if len(subsets) == 1 or not several:
            yield from (_Line(printable(row.run) if several else name, row) for row in rows)
        else:
            yield _Line(name, None)
            yield from (_Line(f"  {printable(row.run)}", row) for row in rows)


def _mean(metric: str, row: Row | None) -> Text:
    if row is None:
        return Text()
    cell = row.cells.get(metric)
    if cell is None or cell.statistics.mean is None:
        return Text(UNDEFINED)
    mark, style = _MARKS[cell.rank], _STYLES[cell.rank]
    if not cell.compared:
        mark, style = _OTHER_PAIRS, "dim"
    text = Text.assemble(mark, (value_text(metric, cell.statistics.mean), style))
    if row.subset == ALL_SUBSETS and cell.statistics.half_width is not None:
        half_width = value_text(metric, cell.statistics.half_width)
        text.append(f"\n{_INTERVAL}{half_width}", "dim")
    return text


def _labels(labels: Sequence[str], room: int) -> _Column:
    """Return the column of labels; one that is too long continues below with its parameters."""
    texts = [label if cell_len(label) <= room else label.replace("(", "\n  (") for label in labels]
    return _Column("", [Text(text) for text in texts], room)


def _blocks(columns: Sequence[_Column], room: int) -> Iterator[list[_Column]]:
    """Yield as many columns at once as there is room for, but at least one."""
    block: list[_Column] = []
    left = room
    for column in columns:
        needed = _GAP + column.width
        if block and needed > left:
            yield block
            block, left = [], room
        block.append(column)
        left -= needed
    yield block


def _table(labels: _Column, columns: Sequence[_Column]) -> Table:
    width = labels.width + sum(_GAP + column.width for column in columns)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, width=width)
    table.add_column(labels.heading, width=labels.width, overflow="fold")
    for column in columns:
        table.add_column(column.heading, width=column.width, justify="right", no_wrap=True)
    for number, label in enumerate(labels.cells):
        table.add_row(label, *(column.cells[number] for column in columns))
    return table


def _notes(comparison: Comparison) -> Iterator[str]:
    """Yield the legend, and what a reader must know about single runs."""
    cells = [cell for row in comparison.rows for cell in row.cells.values()]
    legend = {
        f"{_MARKS['best']} best": any(cell.rank == "best" for cell in cells),
        f"{_MARKS['second']} second best": any(cell.rank == "second" for cell in cells),
        f"{_OTHER_PAIRS} mean over other pairs, not compared": not all(c.compared for c in cells),
        f"{_INTERVAL} half the 95 % interval of the mean": True,
        "n scored/all pairs": any(r.scored < r.total for r in comparison.rows),
    }
    yield ", ".join(text for text, applies in legend.items() if applies)
    yield from comparison_notes(comparison)
