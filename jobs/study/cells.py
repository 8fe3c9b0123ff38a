"""The cells of a study: the runs of its methods on its collections, and how far they are."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from cluster.runs import Ledger, RunRecord
from cluster.storage import Store, find_record
from fusion_core.errors import InvalidValueError, NotFoundError
from fusion_core.suggestions import unknown_name
from jobs.last_failures import FailedPair
from jobs.options import RayOptions, RunOptions, ScoreOptions, StatusOptions
from jobs.status import Status, status
from jobs.study.options import StudyRunOptions
from jobs.study.record import StudyRecord, cell_key

PROBLEMS_KEY = "problems.json"
"""Why cells could not be computed, by their keys."""
_SHOWN_FAILURES = 20

State = Literal["done", "unfinished", "not run", "not given"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A method on a collection."""

    collection: str
    label: str

    @property
    def key(self) -> str:
        """Key of its run in the output location of the study."""
        return cell_key(self.collection, self.label)


class CellStatus(BaseModel):
    """How far a cell is."""

    collection: str
    label: str
    state: State
    rows: int = 0
    """Number of pairs, as far as it is known."""
    ok: int = 0
    failed: int = 0
    pairs_per_second: float | None = None
    """Committed rows per second of the time in which at least one shard was in progress."""
    problem: str = ""
    """Why it could not be computed."""
    failures: list[FailedPair] = []
    """The first failed pairs, with their reasons."""

    @property
    def seconds_left(self) -> float | None:
        """Time that the remaining pairs will take, if the speed is known."""
        if not self.pairs_per_second:
            return None
        return (self.rows - self.ok - self.failed) / self.pairs_per_second


def cells_of(record: StudyRecord) -> Iterator[Cell]:
    """Yield all cells of a study in the sequence of its methods, also those not given."""
    for label in record.methods:
        for collection in record.collections:
            yield Cell(collection, label)


def is_given(record: StudyRecord, cell: Cell) -> bool:
    """Whether there are images to fuse or to score for a cell."""
    fused = record.methods[cell.label].fused
    return fused is None or cell.collection in fused


def choose_cells(record: StudyRecord, only: Sequence[str]) -> list[Cell]:
    """Return the cells that are to be computed.

    Raises:
        InvalidValueError: A name of `only` is neither that of a method nor of a collection.
    """
    known = [*record.methods, *record.collections]
    for name in only:
        if name not in known:
            raise InvalidValueError(unknown_name("method or collection", name, known))
    labels = [name for name in only if name in record.methods] or record.methods
    collections = [name for name in only if name in record.collections] or record.collections
    return [
        cell
        for cell in cells_of(record)
        if cell.label in labels
        and cell.collection in collections
        and is_given(record, cell)
        and cell.key not in record.added
    ]


def options_of(
    record: StudyRecord, cell: Cell, options: StudyRunOptions
) -> RunOptions | ScoreOptions:
    """Return the options of the run that computes a cell."""
    method = record.methods[cell.label]
    common = {
        **record.collections[cell.collection].model_dump(exclude_unset=True),
        "out": options.store(options.out).uri(cell.key),
        "collection": cell.collection,
        "name": cell.label,
        "metrics": record.requested_metrics,
        "score_colour": record.score_colour,
        "max_failure_rate": 1.0,  # the report decides whether a method can be compared
        "retry_failed": options.retry_failed,
        **{name: getattr(options, name) for name in RayOptions.model_fields},
    }
    if method.method is None:
        assert isinstance(method.fused, dict)
        folder = method.fused[cell.collection]
        return ScoreOptions(**common, fused=folder, sixteen_bit=method.sixteen_bit)
    return RunOptions(
        **common,
        method=method.method,
        params=method.params,
        weights=method.weights,
        trust_code=method.trust_code,
    )


def is_finished(out: Store, cell: Cell) -> bool:
    """Whether every shard of a cell has an object."""
    store = Store(out.uri(cell.key), out.storage_options)
    record = find_record(store, RunRecord)
    return record is not None and len(Ledger(store, record).listing().shards) == record.plan.count


def describe_cells(out: Store, record: StudyRecord) -> list[CellStatus]:
    """Return how far all cells are.

    Raises:
        StorageError: A run cannot be read.
    """
    problems = read_problems(out)
    return [_describe(out, record, cell, problems) for cell in cells_of(record)]


def _describe(
    out: Store, record: StudyRecord, cell: Cell, problems: Mapping[str, str]
) -> CellStatus:
    given = is_given(record, cell) or cell.key in record.added
    try:
        found = status(
            StatusOptions(
                out=out.uri(cell.key),
                failures=_SHOWN_FAILURES,
                storage_options=out.storage_options,
            )
        )
    except NotFoundError:
        return CellStatus(
            collection=cell.collection,
            label=cell.label,
            state="not run" if given else "not given",
            problem=problems.get(cell.key, ""),
        )
    return CellStatus(
        collection=cell.collection,
        label=cell.label,
        state="unfinished" if found.rows_left else "done",
        rows=found.rows,
        ok=found.ok,
        failed=found.failed,
        pairs_per_second=found.pairs_per_second,
        problem=_problem(found, problems.get(cell.key, "")),
        failures=found.failures,
    )


def _problem(found: Status, noted: str) -> str:
    """Return why a cell is unfinished, as far as that is known."""
    if not found.rows_left:
        return ""
    if found.damaged_shards and not noted:
        first, count = found.damaged_shards[0], len(found.damaged_shards)
        return f"{count} of {found.shards} shards cannot be used: {first.reason}"
    return noted


def read_problems(out: Store) -> dict[str, str]:
    """Return why cells could not be computed, by their keys."""
    try:
        problems: dict[str, str] = json.loads(out.read(PROBLEMS_KEY))
    except (NotFoundError, ValueError):
        return {}
    return problems


def note_problems(out: Store, tried: Collection[Cell], problems: Mapping[str, str]) -> None:
    """Write why cells could not be computed; what earlier calls wrote about others remains."""
    before = read_problems(out)
    keys = {cell.key for cell in tried}
    after = {key: text for key, text in before.items() if key not in keys} | dict(problems)
    if after != before:
        out.write(PROBLEMS_KEY, json.dumps(after, indent=2, sort_keys=True).encode())
