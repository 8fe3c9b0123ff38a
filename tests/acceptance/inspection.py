"""The collection of the soak test, and a comparison of its rows with an undisturbed computation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cluster.collections import MANIFEST_KEY, PairRow
from cluster.runs import (
    RUN_KEY,
    TIMED_STAGES,
    Ledger,
    PairStages,
    Payload,
    RunRecord,
    WorkerConfig,
    shard_key,
)
from cluster.runs.attempts import ATTEMPTS_PREFIX
from cluster.runs.score_parts import ScoreParts
from cluster.storage import Store, read_record
from fusion_core.images import encode_png, synthetic_pair
from fusion_core.methods import get_method
from jobs.bench.measuring import one_thread
from jobs.options import RunOptions
from jobs.preview import PREVIEW_KEY
from jobs.progress import SilentProgress
from jobs.summary_files import SUMMARY_CSV_KEY, SUMMARY_KEY
from jobs.weights import find_stored_weights

_METHOD = "densefuse"
_DISTINCT_PAIRS = 97
"""Prime, so that no two shards contain the same pairs."""
_VOLATILE = {"pair_id", "ir_uri", "vis_uri", "attempt", "node", *(f"{s}_ms" for s in TIMED_STAGES)}


def write_collection(store: Store, pairs: int, side: int) -> None:
    """Write pairs of square images, of which every 97th is identical."""
    drawn = [
        [encode_png(image) for image in synthetic_pair(side, side, seed=seed)]
        for seed in range(min(pairs, _DISTINCT_PAIRS))
    ]
    # The store is not used, because it syncs after each of these many small files.
    folders = [Path(store.path(modality)) for modality in ("ir", "vis")]
    for folder in folders:
        folder.mkdir(parents=True)
    for number in range(pairs):
        for folder, data in zip(folders, drawn[number % len(drawn)], strict=True):
            (folder / _file_name(number)).write_bytes(data)


def _file_name(number: int) -> str:
    return f"{number:07d}.png"


@dataclass
class Findings:
    """Errors in the rows of a run."""

    lost: int
    doubled: int
    wrong: int
    strays: list[str]


def inspect_rows(source: Store, out: Store, pairs: int) -> Findings:
    """Compare every row with the result of an undisturbed process."""
    record = read_record(out, RunRecord)
    expected = _compute_alone(source, out, record, min(pairs, _DISTINCT_PAIRS))
    columns = [*expected[0], "pair_id"]
    seen: Counter[str] = Counter()
    wrong = place = 0
    # Read without the checks of the ledger, which are part of what is inspected.
    for shard in sorted(Ledger(out, record).listing().shards):
        with out.open(shard_key(shard)) as file:
            table = pq.ParquetFile(file).read(columns=columns)
        for row in table.to_pylist():
            pair_id = row.pop("pair_id")
            seen[pair_id] += 1
            right = pair_id == Path(_file_name(place)).stem
            wrong += not (right and row == expected[place % len(expected)])
            place += 1
    known = {RUN_KEY, MANIFEST_KEY, SUMMARY_KEY, SUMMARY_CSV_KEY, PREVIEW_KEY}
    known |= {shard_key(shard) for shard in range(record.plan.count)}
    parts = ScoreParts(out, record).keys()
    known |= {key for *_, key in parts}
    keys = [e.key for e in out.entries() if not e.key.startswith(f"{ATTEMPTS_PREFIX}/")]
    return Findings(
        lost=sum(Path(_file_name(number)).stem not in seen for number in range(pairs)),
        doubled=sum(count - 1 for count in seen.values()),
        wrong=wrong,
        strays=[key for key in keys if key not in known],
    )


def _compute_alone(
    source: Store, out: Store, record: RunRecord, pairs: int
) -> list[dict[str, Any]]:
    """Return the rows of the first pairs, without the columns that differ between computations."""
    spec = get_method(_METHOD)
    options = RunOptions(source="", out="", method=_METHOD)
    weights = find_stored_weights(spec, options, spec.parameters(), SilentProgress())
    config = WorkerConfig(record, out, Payload(weights))
    rows = {
        number: PairRow(
            pair_id=str(number),
            ir_uri=source.uri(f"ir/{_file_name(number)}"),
            vis_uri=source.uri(f"vis/{_file_name(number)}"),
            subset="",
        )
        for number in range(pairs)
    }
    with one_thread():
        records = PairStages(config).compute(rows, dict.fromkeys(rows, 1))
    return [
        {name: value for name, value in records[number].items() if name not in _VOLATILE}
        for number in range(pairs)
    ]
