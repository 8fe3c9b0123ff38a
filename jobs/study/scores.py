"""The scores of a study: read from its runs, and written as one long table."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.runs import Ledger, RunRecord
from cluster.storage import Store, read_record
from fusion_core.errors import ManifestError, RunConflictError
from jobs.study.record import StudyRecord, cell_key

SCORES_KEY = "scores.parquet"
_PAIRS_AT_ONCE = 4096
_NAMED_PAIRS = 3
_TEXT = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("collection", "subset", "pair_id", "label", "metric")),
        ("value", pa.float64()),
        ("status", _TEXT),
    ]
)
STATUSES = ("ok", "undefined", "failed")
"""A value, no value because the metric is undefined for the pair, or a pair that failed."""


@dataclass(frozen=True)
class CollectionScores:
    """The scores of all finished methods on a collection."""

    collection: str
    pair_ids: tuple[str, ...]
    subsets: tuple[str, ...]
    """The subset of each pair."""
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    values: NDArray[np.float64]
    """`(pairs, methods, metrics)`, NaN where a pair failed or a metric is undefined."""
    failed: NDArray[np.bool_]
    """`(pairs, methods)`."""
    positions: NDArray[np.int64]
    """`(pairs, methods)`, the position of each pair in the manifest of each method's run."""
    runs: tuple[RunRecord, ...] = ()
    """The record of each method's run."""

    def keep_metrics(self, names: Sequence[str]) -> CollectionScores:
        """Return the scores of some metrics alone."""
        places = [self.metrics.index(name) for name in names]
        return replace(self, metrics=tuple(names), values=self.values[:, :, places])


def load_scores(
    out: Store, record: StudyRecord, collection: str, labels: Sequence[str]
) -> CollectionScores:
    """Read the scores of finished cells from their shards.

    Args:
        out: Output location of the study.
        record: Record of the study.
        collection: Name of the collection.
        labels: At least one method whose cell is finished.

    Raises:
        ManifestError: The runs have other pairs than each other.
        RunConflictError: A run lacks a metric of the study.
        StorageError: A run is damaged or cannot be read.
    """
    runs = [_Run(out, collection, label, record.metrics) for label in labels]
    first = runs[0]
    for run in runs[1:]:
        require_same_pairs(first.pair_ids, run.pair_ids, first.what, run.what)
    orders = [run.order_of(first) for run in runs]
    return CollectionScores(
        collection=collection,
        pair_ids=tuple(first.pair_ids),
        subsets=tuple(first.subsets),
        labels=tuple(labels),
        metrics=tuple(record.metrics),
        values=np.stack([r.values[o] for r, o in zip(runs, orders, strict=True)], axis=1),
        failed=np.stack([r.failed[o] for r, o in zip(runs, orders, strict=True)], axis=1),
        positions=np.stack(orders, axis=1),
        runs=tuple(run.record for run in runs),
    )


class _Run:
    """The scores of one run, in the order of its rows."""

    def __init__(self, out: Store, collection: str, label: str, metrics: Sequence[str]) -> None:
        store = Store(out.uri(cell_key(collection, label)), out.storage_options)
        self.what = f"{label} on {collection}"
        self.record = read_record(store, RunRecord)
        require_metrics(self.record, metrics, self.what)
        self.record.adopt_metrics()
        self.pair_ids: list[str] = []
        self.subsets: list[str] = []
        values, failed = [], []
        columns = ["pair_id", "subset", "status", *metrics]
        for content in Ledger(store, self.record).contents(columns):
            table = content.table
            assert table is not None
            self.pair_ids += table["pair_id"].to_pylist()
            self.subsets += table["subset"].to_pylist()
            values.append(np.stack([table[m].to_numpy() for m in metrics], axis=1))
            failed.append(pc.equal(table["status"], "failed").to_numpy())
        self.values = np.concatenate(values)
        self.failed = np.concatenate(failed)

    def order_of(self, other: _Run) -> NDArray[np.int64]:
        """Return the position here of each pair of another run."""
        if self.pair_ids == other.pair_ids:
            return np.arange(len(self.pair_ids))
        places = {pair_id: place for place, pair_id in enumerate(self.pair_ids)}
        return np.array([places[pair_id] for pair_id in other.pair_ids], dtype=np.int64)


def require_metrics(record: RunRecord, metrics: Sequence[str], what: str) -> None:
    """Check that a run has all metrics of a study.

    Raises:
        RunConflictError: It lacks some.
    """
    missing = [name for name in metrics if name not in record.metrics]
    if missing:
        raise RunConflictError(
            f"The run of {what} has no {', '.join(missing)}; compute it again with the metrics of "
            "the study"
        )


def require_same_pairs(
    first: Sequence[str], second: Sequence[str], first_name: str, second_name: str
) -> None:
    """Check that two runs have the same pairs, in any order.

    Raises:
        ManifestError: They have not; the message names up to three pairs.
    """
    if first == second:
        return
    for pairs, others, has, lacks in (
        (first, second, first_name, second_name),
        (second, first, second_name, first_name),
    ):
        if missing := sorted(set(pairs) - set(others)):
            more = f" and {len(missing) - _NAMED_PAIRS} more" if len(missing) > _NAMED_PAIRS else ""
            raise ManifestError(
                f"{has} and {lacks} have other pairs: {', '.join(missing[:_NAMED_PAIRS])}{more} "
                f"are missing in the run of {lacks}. Compare runs of the same pairs only"
            )


def encode_scores(collections: Sequence[CollectionScores]) -> bytes:
    """Return the scores as a Parquet file with one row per pair, method and metric.

    The rows are in the order of their columns.
    """
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, _SCHEMA, compression="zstd") as writer:
        for scores in sorted(collections, key=lambda scores: scores.collection):
            for table in _tables(scores):
                writer.write_table(table)
    return buffer.getvalue()


def _tables(scores: CollectionScores) -> Iterator[pa.Table]:
    """Yield the rows of some pairs at a time."""
    keys = list(zip(scores.subsets, scores.pair_ids, strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    labels = sorted(range(len(scores.labels)), key=scores.labels.__getitem__)
    metrics = sorted(range(len(scores.metrics)), key=scores.metrics.__getitem__)
    per_pair = len(labels) * len(metrics)
    for start in range(0, len(order), _PAIRS_AT_ONCE):
        pairs = order[start : start + _PAIRS_AT_ONCE]
        values = scores.values[np.ix_(pairs, labels, metrics)].ravel()
        failed = np.repeat(scores.failed[np.ix_(pairs, labels)].ravel(), len(metrics))
        status = np.where(failed, 2, np.isnan(values))
        of_pair = np.repeat(np.arange(len(pairs)), per_pair)
        yield pa.table(
            [
                _coded([scores.collection], np.zeros(len(values))),
                _coded([scores.subsets[p] for p in pairs], of_pair),
                _coded([scores.pair_ids[p] for p in pairs], of_pair),
                _coded(
                    [scores.labels[n] for n in labels],
                    np.tile(np.repeat(np.arange(len(labels)), len(metrics)), len(pairs)),
                ),
                _coded(
                    [scores.metrics[n] for n in metrics],
                    np.tile(np.arange(len(metrics)), len(pairs) * len(labels)),
                ),
                pa.array(values, mask=np.isnan(values)),
                _coded(STATUSES, status),
            ],
            schema=_SCHEMA,
        )


def _coded(names: Sequence[str], places: NDArray[np.generic]) -> pa.DictionaryArray:
    """Return texts as places in a list of names, which may repeat."""
    unique = list(dict.fromkeys(names))
    number = {name: place for place, name in enumerate(unique)}
    codes = np.array([number[name] for name in names], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes[places.astype(np.int64)]), unique)
