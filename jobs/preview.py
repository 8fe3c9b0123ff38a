"""The picture at the end of a run: six of its pairs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cluster.runs import Gallery, Ledger, RunRecord
from cluster.storage import Store, redact_text
from fusion_core.errors import RunFailedError
from jobs.sheets import Choice, make_sheet

PREVIEW_KEY = "preview.png"
PREVIEW_PAIRS = 6


@dataclass(frozen=True, slots=True)
class Preview:
    """The picture of some pairs of a run."""

    location: str | None
    """Location of the picture; None if there is none."""
    problem: str | None = None
    """Why there is none."""


def update_preview(out: Store, record: RunRecord, *, outdated: bool) -> Preview:
    """Draw six pairs of a run, unless the picture exists and is up to date.

    A finished run does not fail for the lack of a picture, whatever the reason.

    Args:
        out: Output location of the run.
        record: Record of the run.
        outdated: Whether rows were computed since the picture was made.
    """
    try:
        if outdated or not out.exists(PREVIEW_KEY):
            out.write(PREVIEW_KEY, _draw(out, record))
    except Exception as error:  # noqa: BLE001
        return Preview(None, redact_text(str(error)) or type(error).__name__)
    return Preview(out.uri(PREVIEW_KEY))


def _draw(out: Store, record: RunRecord) -> bytes:
    gallery = Gallery(out, record)
    if record.origin.kind == "method" and not record.origin.keep_images:
        raise RunFailedError("the run keeps no images (--no-keep-images)")
    shards = Ledger(out, record).listing().shards
    choices = spread_choices(gallery, record, shards, PREVIEW_PAIRS)
    if not choices:
        raise RunFailedError("no pair was fused in the shards that were looked at")
    return make_sheet(gallery, record, choices, f"{len(choices)} of {record.rows} pairs")


def spread_choices(
    gallery: Gallery, record: RunRecord, shards: Collection[int], count: int
) -> list[Choice]:
    """Choose pairs at equal distances through committed shards, so that all parts are represented.

    A failed pair is replaced by the next one in its shard, or by the first one if none follows.

    Args:
        gallery: The pairs of the run.
        record: Record of the run.
        shards: Numbers of the committed shards.
        count: Number of pairs; fewer are chosen if there are fewer, or if whole shards failed.
    """
    present, taken = sorted(shards), set[int]()
    bounds = map(record.plan.bounds, present)
    rows = sum(end - first for first, end in bounds)
    good: dict[int, list[int]] = {}
    for number in range(count if rows else 0):
        # Only the last shard of a run may be smaller than the others.
        index, offset = divmod((2 * number + 1) * rows // (2 * count), record.shard_size)
        shard = present[index]
        if shard not in good:
            good[shard] = _good_offsets(gallery, shard)
        first = shard * record.shard_size
        free = [found for found in good[shard] if first + found not in taken]
        following = [found for found in free if found >= offset]
        taken.update(first + found for found in (following or free)[:1])
    return [Choice(position) for position in sorted(taken)]


def _good_offsets(gallery: Gallery, shard: int) -> list[int]:
    rows = gallery.rows(shard, ["status"])
    return [offset for offset, row in enumerate(rows) if row["status"] == "ok"]
