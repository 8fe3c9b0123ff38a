"""Lists, labelled lines and paragraphs that fit the width of the terminal."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from jobs.console.printing import printable

_WIDTH_WITHOUT_TERMINAL = 160
_WIDEST_TEXT = 100
_LABEL_WIDTH = 12
_GAP = "  "
_NARROWEST_COLUMN = 8
"""A last column that would be narrower is left out."""


def print_list(
    console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], right: str = ""
) -> None:
    """Print one line per row, which is cut where the terminal ends.

    Args:
        console: Where to print.
        headings: The names of the columns, the least important column last.
        rows: The cells.
        right: Name of a column of numbers, which are aligned on the right.
    """
    cells = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    width = text_width(console)
    if sum(widths[:-1]) + len(_GAP) * len(widths[:-1]) + _NARROWEST_COLUMN > width:
        widths.pop()
    for number, row in enumerate(cells):
        texts = (
            cell.rjust(size) if heading == right else cell.ljust(size)
            for cell, size, heading in zip(row, widths, headings, strict=False)
        )
        line = Text(_GAP.join(texts).rstrip(), style="" if number else "bold")
        line.truncate(width, overflow="ellipsis")
        console.print(line, soft_wrap=True)


def print_columns(console: Console, rows: Sequence[Mapping[str, str]], left: Sequence[str]) -> None:
    """Print a table, of whose columns a narrow terminal shows the first ones.

    Args:
        console: Where to print.
        rows: The cells of each row by the headings of the columns, the most important one first.
        left: Headings of the columns that are aligned on the left.
    """
    cells = {heading: [heading, *(printable(row[heading]) for row in rows)] for heading in rows[0]}
    widths = {heading: max(map(cell_len, column)) for heading, column in cells.items()}
    width = text_width(console)
    while len(widths) > 1 and sum(widths.values()) + len(_GAP) * (len(widths) - 1) > width:
        widths.popitem()
    for number in range(len(rows) + 1):
        texts = (_aligned(cells[h][number], w, left=h in left) for h, w in widths.items())
        line = Text(_GAP.join(texts).rstrip(), style="" if number else "bold")
        line.truncate(width, overflow="ellipsis")
        console.print(line, soft_wrap=True)


def _aligned(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - cell_len(text))
    return f"{text}{space}" if left else f"{space}{text}"


def print_fields(console: Console, title: str, fields: Mapping[str, str]) -> None:
    """Print a title, and a labelled line for each field."""
    print_text(console, title, indent=2, style="bold")
    for label, text in fields.items():
        print_labelled(console, label, text, first=2)


def print_labelled(console: Console, label: str, text: str, *, first: int = 0) -> None:
    """Print a label and a text, whose further lines are below its first one.

    Args:
        console: Where to print.
        label: The label.
        text: The text.
        first: Columns before the label.
    """
    line = f"{label:<{_LABEL_WIDTH}}{text}"
    print_text(console, line, first=first, indent=_LABEL_WIDTH + first)


def print_text(
    console: Console, text: str, *, first: int = 0, indent: int = 0, style: str = ""
) -> None:
    """Print a paragraph, without cutting words such as links.

    Args:
        console: Where to print.
        text: The paragraph.
        first: Columns before its first line.
        indent: Columns before the other lines.
        style: Style of rich.
    """
    lines = textwrap.wrap(
        printable(text),
        min(text_width(console), _WIDEST_TEXT),
        initial_indent=" " * first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(Text("\n".join(lines), style=style), soft_wrap=True)


def text_width(console: Console) -> int:
    """Return the width of the terminal, or a wide one for files and other programs."""
    known = console.is_terminal or "COLUMNS" in os.environ
    return console.width if known else _WIDTH_WITHOUT_TERMINAL
