"""Sheets of a run's pairs: infrared, visible and fused image next to each other, with scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cluster.runs import Gallery, PairView, RunRecord
from fusion_core.images import SheetRow, draw_sheet, encode_png
from jobs.metric_text import value_text

_READERS = 4
"""Pairs that are read at a time, each with up to three whole images in memory."""
_HEADINGS = ("infrared", "visible", "fused")
_FAMILIAR = ("EN", "Qabf", "SSIM_a", "SD")
"""Metrics whose scores are shown first."""
_SHOWN_METRICS = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """A pair that is shown."""

    position: int
    """Position in the manifest."""
    metric: str = ""
    """Metric by which it was chosen, whose score is shown first."""
    note: str = ""
    """Why it was chosen, in a few words."""


def make_sheet(gallery: Gallery, record: RunRecord, choices: Sequence[Choice], what: str) -> bytes:
    """Draw the chosen pairs as a PNG file.

    Args:
        gallery: The pairs of the run.
        record: Record of the run.
        choices: At least one pair.
        what: Which pairs are shown, for the title.

    Raises:
        StorageError: A shard is damaged or cannot be read.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        views = list(pool.map(lambda choice: gallery.view(choice.position), choices))
    rows = [_draw(view, choice, record) for view, choice in zip(views, choices, strict=True)]
    title = f"{record.name} on {record.collection}: {what}"
    return encode_png(draw_sheet(title, _HEADINGS, rows), compress_level=6)


def _draw(view: PairView, choice: Choice, record: RunRecord) -> SheetRow:
    row = view.row
    size = f"{row['width']} x {row['height']}" if row["width"] else ""
    return SheetRow(
        title=str(row["pair_id"]),
        images=(view.ir, view.vis, view.fused),
        note="   ".join(filter(None, (choice.note, size))),
        caption="   ".join(_scores(view, _shown_metrics(record.metrics, choice.metric))),
    )


def _shown_metrics(metrics: Sequence[str], first: str) -> list[str]:
    wanted = dict.fromkeys((first, *_FAMILIAR, *metrics))
    return [name for name in wanted if name in metrics][:_SHOWN_METRICS]


def _scores(view: PairView, metrics: Iterable[str]) -> Iterable[str]:
    for name in metrics:
        value = view.row[name]
        if value is not None:
            yield f"{name} {value_text(name, value)}"
