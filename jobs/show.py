"""Draw chosen pairs of a run as a picture."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from cluster.collections import FrozenManifest
from cluster.runs import Gallery, Ledger, RunRecord
from cluster.storage import Store, read_record
from fusion_core.errors import InvalidValueError, NotFoundError
from fusion_core.metrics import find_metric
from fusion_core.suggestions import unknown_name
from jobs.options import ShowOptions
from jobs.preview import spread_choices
from jobs.progress import Progress
from jobs.sheets import Choice, make_sheet

SHEET_KEY = "sheet.png"
_MOST_NAMES = 10_000
"""Names that are compared with an unknown one."""


class Sheet(BaseModel):
    """Result of `irfuse show`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    location: str
    """Location of the picture."""
    positions: list[int]
    """Positions of the shown pairs in the manifest of the run."""


def show(options: ShowOptions, progress: Progress | None = None) -> Sheet:
    """Draw pairs of the run at OUT as a picture.

    Args:
        options: Options of the job.
        progress: Not used.

    Returns:
        The location of the picture, and which pairs it shows.

    Raises:
        InvalidValueError: A pair or metric is unknown, or the output does not end in .png.
        NotFoundError: The location contains no run, or no pair is of the requested kind.
        StorageError: The run cannot be read, or the picture cannot be written.
    """
    if options.output is not None and not options.output.lower().endswith(".png"):
        raise InvalidValueError(f"Expected an output that ends in .png, but got {options.output}")
    out = options.store(options.out)
    record = read_record(out, RunRecord)
    record.adopt_metrics()
    choices = _merge(_choose(options, out, record))
    if not choices:
        kind = "failed" if options.failed else "finished"
        raise NotFoundError(f"{out.url} has no {kind} pairs to show")
    what = f"{len(choices)} of {record.rows} pairs"
    data = make_sheet(Gallery(out, record), record, choices, what)
    store, name = (out, SHEET_KEY) if options.output is None else options.file(options.output)
    store.write(name, data)
    return Sheet(location=store.uri(name), positions=[choice.position for choice in choices])


def _choose(options: ShowOptions, out: Store, record: RunRecord) -> list[Choice]:
    choices = list(_find_pairs(options.pairs, FrozenManifest(out), record))
    if options.best is not None:
        choices += _ranked(options, out, record, options.best, best=True)
    if options.worst is not None:
        choices += _ranked(options, out, record, options.worst, best=False)
    if options.failed:
        failed = (n for n, row in _rows(out, record, ["status"]) if row["status"] == "failed")
        choices += [Choice(position) for position in itertools.islice(failed, options.count)]
    if choices or options.best or options.worst or options.failed:
        return choices
    shards = Ledger(out, record).listing().shards
    return spread_choices(Gallery(out, record), record, shards, options.count)


def _merge(choices: Sequence[Choice]) -> list[Choice]:
    """Show a pair that was chosen for several reasons once, with all of them."""
    merged: dict[int, Choice] = {}
    for choice in choices:
        first = merged.setdefault(choice.position, choice)
        if choice.note and choice.note not in first.note.split(", "):
            merged[choice.position] = replace(first, note=f"{first.note}, {choice.note}")
    return list(merged.values())


def _find_pairs(
    names: Sequence[str], manifest: FrozenManifest, record: RunRecord
) -> Iterator[Choice]:
    """Yield the pairs with these ids, or with ids whose last parts these are.

    Raises:
        InvalidValueError: No pair, or more than one, has such an id.
    """
    if not names:
        return
    exact: dict[str, int] = {}
    ending: dict[str, dict[str, int]] = {name: {} for name in names}
    ids: list[str] = []
    for position, pair_id in enumerate(_pair_ids(manifest)):
        if pair_id in ending:
            exact[pair_id] = position
        for name in names:
            if pair_id.endswith(f"/{name}"):
                ending[name][pair_id] = position
        if len(ids) < _MOST_NAMES:
            ids.append(pair_id)
    for name in names:
        found = [exact[name]] if name in exact else list(ending[name].values())
        if len(found) > 1:
            some = ", ".join(itertools.islice(ending[name], 3))
            raise InvalidValueError(f"{len(found)} pairs end in {name!r}, such as {some}")
        if not found:
            raise InvalidValueError(unknown_name("pair", name, ids))
        yield Choice(found[0])


def _pair_ids(manifest: FrozenManifest) -> Iterator[str]:
    for batch in manifest.batches():
        yield from batch.column("pair_id").to_pylist()


def _ranked(
    options: ShowOptions, out: Store, record: RunRecord, metric: str, *, best: bool
) -> list[Choice]:
    """Return the pairs with the best or worst scores, the most extreme first."""
    if metric not in record.metrics:
        raise InvalidValueError(unknown_name("metric", metric, record.metrics))
    known = find_metric(metric)
    direction = True if known is None else known.higher_is_better
    if direction is None:
        raise InvalidValueError(f"{metric} has no better direction; show pairs by another metric")
    highest = best == direction
    scores = (
        (row[metric] if highest else -row[metric], -position)  # of equal scores, the first pairs
        for position, row in _rows(out, record, [metric])
        if row[metric] is not None
    )
    label = f"{'best' if best else 'worst'} {metric}"
    found = heapq.nlargest(options.count, scores)
    return [Choice(-position, metric, label) for _, position in found]


def _rows(
    out: Store, record: RunRecord, columns: Sequence[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield position and columns of all committed rows."""
    for content in Ledger(out, record).contents(columns):
        first = content.shard * record.shard_size
        for offset, row in enumerate(content.to_rows()):
            yield first + offset, row
