"""Sheets of images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fusion_core.images.sheets import CELL_SIZE, SheetRow, draw_sheet, fit

WIDTH, HEIGHT = CELL_SIZE
HEADINGS = ("infrared", "visible", "fused")


def picture(height: int, width: int, *channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def row(title: str = "pair", **changed: object) -> SheetRow:
    images = (picture(HEIGHT, WIDTH), picture(HEIGHT, WIDTH, 3), picture(HEIGHT // 2, WIDTH))
    return SheetRow(**{"title": title, "images": images, **changed})


def contains(sheet: NDArray[np.uint8], image: NDArray[np.uint8]) -> bool:
    """Whether an image is somewhere in a sheet, pixel by pixel."""
    colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    height, width = colour.shape[:2]
    corners = np.argwhere((sheet == colour[0, 0]).all(axis=2))
    return any(np.array_equal(sheet[y : y + height, x : x + width], colour) for y, x in corners)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2 * HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH)),
        ((5000, 100), (HEIGHT, round(100 * HEIGHT / 5000))),
        ((10, 20), (20, 40)),
        ((1, 90_000), (1, WIDTH)),
    ],
)
def test_an_image_is_scaled_into_a_cell(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit(picture(*size)).shape == expected
    assert fit(picture(*size, 3)).shape == (*expected, 3)


def test_a_picture_of_the_size_of_a_cell_is_shown_as_it_is() -> None:
    images = row().images
    sheet = draw_sheet("run", HEADINGS, [row()])
    assert all(not isinstance(image, str) and contains(sheet, image) for image in images)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 1), (4, 2), (7, 2)])
def test_many_rows_are_drawn_in_two_columns(count: int, columns: int) -> None:
    single = draw_sheet("run", HEADINGS, [row()])
    sheet = draw_sheet("run", HEADINGS, [row()] * count)
    assert round(sheet.shape[1] / single.shape[1]) == columns


def test_text_of_any_length_leaves_the_size_of_a_sheet_unchanged() -> None:
    plain = draw_sheet("run", HEADINGS, [row(caption="EN 7")])
    long = draw_sheet(
        "run " * 200,
        HEADINGS,
        [
            row(
                "x" * 500,
                note="note " * 99,
                caption="EN 7 " * 99,
                images=("why " * 200, "w" * 900, "–"),
            )
        ],
    )
    assert long.shape[1] == plain.shape[1]
    assert long.shape[0] < plain.shape[0]


def test_the_reason_is_drawn_where_an_image_is_missing() -> None:
    empty = draw_sheet("", ("fused",), [SheetRow("", [""])])
    reason = draw_sheet("", ("fused",), [SheetRow("", ["cannot be read now"])])
    assert empty.shape == reason.shape
    assert (empty != reason).any()
