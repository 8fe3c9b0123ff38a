"""Sheets of images: rows of pictures with captions, to look at the pairs of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

EightBit = NDArray[np.uint8]
Font = ImageFont.FreeTypeFont

CELL_SIZE = (320, 256)
"""Width and height in pixels into which each picture of a sheet is fitted."""

_LARGEST_ENLARGEMENT = 2
_GAP = 6
"""Pixels between the pictures of a row."""
_SPACE = 26
"""Pixels between rows, and around the sheet."""
_TITLE, _HEADING, _CAPTION = 22, 15, 16
"""Sizes of the fonts."""
_LINE = 1.35
"""Height of a line of text relative to its font."""
_PAPER, _INK, _PALE, _EMPTY, _ALARM = "white", "#1b1f24", "#667080", "#eef0f3", "#a3261c"
_ROWS_IN_ONE_COLUMN = 3


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet."""

    title: str
    images: Sequence[EightBit | str]
    """Pictures `(H, W)` or `(H, W, 3)`, or the text that stands in place of one."""
    note: str = ""
    """Text on the right of the title."""
    caption: str = ""
    """Text below the pictures."""


def draw_sheet(title: str, headings: Sequence[str], rows: Sequence[SheetRow]) -> EightBit:
    """Draw rows of pictures with captions, in two columns if there are many.

    Args:
        title: Text above everything.
        headings: Names of the pictures of each row.
        rows: At least one row, each with as many pictures as there are headings.

    Returns:
        The sheet `(H, W, 3)`.

    >>> row = SheetRow("pair", [np.zeros((20, 30), np.uint8), "no picture"], caption="EN 7.40")
    >>> draw_sheet("run", ["infrared", "fused"], [row]).shape[2]
    3
    """
    columns = 1 if len(rows) <= _ROWS_IN_ONE_COLUMN else 2
    width = len(headings) * CELL_SIZE[0] + (len(headings) - 1) * _GAP
    drawn = [_draw_row(row, width) for row in rows]
    lines = [drawn[first : first + columns] for first in range(0, len(drawn), columns)]
    top = _SPACE + _height(_TITLE) + _height(_HEADING) + 2 * _GAP
    height = top + sum(max(row.height for row in line) + _SPACE for line in lines)
    sheet = Image.new("RGB", (columns * (width + _SPACE) + _SPACE, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_SPACE, _SPACE - _GAP), title, _TITLE, _INK, sheet.width - 2 * _SPACE)
    for column in range(columns):
        left = _SPACE + column * (width + _SPACE)
        for number, heading in enumerate(headings):
            at = left + number * (CELL_SIZE[0] + _GAP), top - _height(_HEADING) - _GAP
            _write(draw, at, heading, _HEADING, _PALE, CELL_SIZE[0])
    for line in lines:
        for column, row in enumerate(line):
            sheet.paste(row, (_SPACE + column * (width + _SPACE), top))
        top += max(row.height for row in line) + _SPACE
    return np.asarray(sheet)


def fit(image: EightBit, size: tuple[int, int] = CELL_SIZE) -> EightBit:
    """Scale an image into a cell, keeping its proportions; small images are at most doubled.

    Args:
        image: `(H, W)` or `(H, W, 3)` uint8.
        size: Width and height of the cell in pixels.

    Returns:
        The image with the width or the height of the cell, or twice its size.

    >>> fit(np.zeros((3000, 4000), np.uint8)).shape
    (240, 320)
    """
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height, _LARGEST_ENLARGEMENT)
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    filtering = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize(scaled, filtering, reducing_gap=3.0))


def _draw_row(row: SheetRow, width: int) -> Image.Image:
    pictures = [image if isinstance(image, str) else fit(image) for image in row.images]
    heights = [picture.shape[0] for picture in pictures if not isinstance(picture, str)]
    tallest = max(heights, default=CELL_SIZE[1] // 2)
    below = _height(_CAPTION) if row.caption else 0
    above = _height(_CAPTION)
    drawn = Image.new("RGB", (width, above + tallest + below), _PAPER)
    draw = ImageDraw.Draw(drawn)
    note = _write(draw, (0, 0), row.note, _HEADING, _PALE, width // 2, right=width)
    _write(draw, (0, 0), row.title, _CAPTION, _INK, width - note - _GAP)
    for number, picture in enumerate(pictures):
        left = number * (CELL_SIZE[0] + _GAP)
        if isinstance(picture, str):
            _draw_text(draw, (left, above), tallest, picture)
        else:
            drawn.paste(Image.fromarray(picture), (left, above))
    _write(draw, (0, above + tallest + _GAP // 2), row.caption, _CAPTION, _PALE, width)
    return drawn


def _draw_text(draw: ImageDraw.ImageDraw, at: tuple[int, int], height: int, text: str) -> None:
    """Write a text into an empty cell, as many lines as fit."""
    left, top = at
    draw.rectangle((left, top, left + CELL_SIZE[0] - 1, top + height - 1), fill=_EMPTY)
    margin, line = 2 * _GAP, _height(_HEADING)
    lines = _wrap(text, _font(_HEADING), CELL_SIZE[0] - 2 * margin)
    most = max(1, (height - 2 * margin) // line)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} …"]
    for number, part in enumerate(lines):
        place = left + margin, top + margin + number * line
        _write(draw, place, part, _HEADING, _ALARM, CELL_SIZE[0] - 2 * margin)


def _wrap(text: str, font: Font, width: float) -> list[str]:
    """Break a text into lines, and words that are longer than a line."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    colour: str,
    width: int,
    right: int | None = None,
) -> int:
    """Write one line, whose middle is left out if it is too long, and return its width."""
    font = _font(size)
    shown, kept = text, len(text)
    while font.getlength(shown) > width and kept > 2:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    length = round(font.getlength(shown))
    left, top = at if right is None else (right - length, at[1])
    draw.text((left, top), shown, font=font, fill=colour)
    return length


def _font(size: int) -> Font:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _height(size: int) -> int:
    return round(size * _LINE)
