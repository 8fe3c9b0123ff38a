"""Studies whose runs have given scores, so that they need no images and no Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.runs.origins import FilesOrigin
from cluster.runs.plan import shard_key
from cluster.runs.rows import ResultRow
from cluster.storage.store import Store
from jobs.study.record import StudyRecord, cell_key, record_of
from jobs.study.scores import CollectionScores
from jobs.study.settings import StudySettings
from support.records import encoded_shard, result_row, run_record

Values = NDArray[np.float64]
METRICS = ("EN", "Qabf", "Nabf", "SCD", "SSIM_a")
LABELS = ("sharp", "soft", "noisy")
SHARD_SIZE = 8


def made_up_scores(
    pairs: int = 12, labels: Sequence[str] = LABELS, metrics: Sequence[str] = METRICS
) -> dict[str, Values]:
    """Return scores of `(pairs, metrics)` in which the first method is best."""
    generator = np.random.default_rng(0)
    pair = generator.normal(0, 0.1, (pairs, len(metrics)))
    return {
        label: 0.6 + pair - 0.05 * number + generator.normal(0, 0.01, pair.shape)
        for number, label in enumerate(labels)
    }


def write_run(
    out: Store,
    collection: str,
    label: str,
    values: Values,
    *,
    metrics: Sequence[str] = METRICS,
    pair_ids: Sequence[str] | None = None,
    subsets: Sequence[str] | None = None,
    failed: Sequence[int] = (),
    shards: int | None = None,
    images: str = "",
    **changed: Any,
) -> None:
    """Write a run with these scores, NaN where a metric is undefined.

    If there is a folder of images, it has `ir/NNNN.png`, `vis/NNNN.png` and `LABEL/NNNN.png`.
    """
    names = pair_ids or [f"p{number:03d}" for number in range(len(values))]
    groups = subsets or [""] * len(values)
    pairs = [
        {
            "pair_id": name,
            "ir_uri": f"{images}/ir/{number:04d}.png",
            "vis_uri": f"{images}/vis/{number:04d}.png",
            "subset": group,
        }
        for number, (name, group) in enumerate(zip(names, groups, strict=True))
    ]
    info, manifest = freeze([pa.RecordBatch.from_pylist(pairs)])
    out.write(MANIFEST_KEY, manifest)
    origin = FilesOrigin(method=label, fused=f"/fused/{label}")
    settings = {
        "name": label, "collection": collection, "origin": origin, "metrics": list(metrics),
        "shard_size": SHARD_SIZE, "irfuse_version": "0.1.0", "torch_version": "2", **changed,
    }  # fmt: skip
    record = run_record(info, **settings)
    out.write(record.key, record.model_dump_json().encode())
    for shard in range(record.plan.count if shards is None else shards):
        first, end = record.plan.bounds(shard)
        rows = [
            _row(
                names[n],
                groups[n],
                dict(zip(metrics, values[n], strict=True)),
                n in failed,
                f"{images}/{label}/{n:04d}.png" if images else None,
            )
            for n in range(first, end)
        ]
        data = encoded_shard(rows, metrics, fingerprint=record.fingerprint, shard=shard)
        out.write(shard_key(shard), data)


def _row(
    name: str, subset: str, values: Mapping[str, float], failed: bool, fused: str | None
) -> ResultRow:
    row = result_row(name, subset=subset)
    row.fused = {"bytes": None, "path": fused} if fused else None
    row.metrics = {m: None if failed or np.isnan(v) else float(v) for m, v in values.items()}
    if failed:
        row.status, row.error_stage = "failed", "decode"
        row.error_type, row.error_message = "ImageDecodeError", "The image is damaged"
    return row


def write_study(
    folder: Path | Store,
    scores: Mapping[str, Mapping[str, Values]],
    *,
    metrics: Sequence[str] = METRICS,
    runs: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    **settings: Any,
) -> StudyRecord:
    """Write a study and its runs.

    Args:
        folder: Output location of the study.
        scores: Scores by collection and label.
        metrics: Names of the metrics.
        runs: Arguments of `write_run` by collection and label.
        settings: Further tables of the study file.
    """
    out = folder if isinstance(folder, Store) else Store(str(folder))
    labels = dict.fromkeys(label for found in scores.values() for label in found)
    study = StudySettings(
        collections={name: {"source": f"/data/{name}"} for name in scores},
        methods={label: {"fused": dict.fromkeys(scores, "/f")} for label in labels},
        metrics={"names": tuple(metrics)},
        **settings,
    )
    record = record_of(study)
    out.write(record.key, record.model_dump_json().encode())
    for collection, found in scores.items():
        for label, values in found.items():
            store = Store(out.uri(cell_key(collection, label)), out.storage_options)
            more = (runs or {}).get((collection, label), {})
            write_run(store, collection, label, values, metrics=metrics, **more)
    return record


def scores_of(
    collection: str,
    scores: Mapping[str, Values],
    *,
    metrics: Sequence[str] = METRICS,
    subsets: Sequence[str] | None = None,
) -> CollectionScores:
    """Return scores as they are loaded from runs; a pair without any value has failed."""
    values = np.stack(list(scores.values()), axis=1)
    pairs, labels = values.shape[:2]
    return CollectionScores(
        collection=collection,
        pair_ids=tuple(f"p{number:03d}" for number in range(pairs)),
        subsets=tuple(subsets or [""] * pairs),
        labels=tuple(scores),
        metrics=tuple(metrics),
        values=values,
        failed=np.isnan(values).all(axis=2),
        positions=np.tile(np.arange(pairs)[:, None], (1, labels)),
    )
