"""A bare loop over the same pairs in plain processes, with the same functions as the job."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import torch

from cluster.runs import ResultRow, default_shard_size, encode_shard, shard_key
from cluster.session import WORKER_ENVIRONMENT
from cluster.storage import Reader, Store
from fusion_core.images import decode_image, encode_png, to_eight_bit
from fusion_core.methods import build_method, fuse_images, get_method
from fusion_core.metrics import prepare_metrics, score_images, select_metrics
from jobs.options import RunOptions
from jobs.progress import SilentProgress
from jobs.weights import find_stored_weights
from tests.acceptance.processes import environment

_METHOD = "densefuse"
_LONGEST_START_S = 600.0


def bare_rate(folder: Path, pairs: int, workers: int, device: str) -> float:
    """Fuse and score the pairs below `folder` in plain processes, and return pairs per second."""
    context = multiprocessing.get_context("spawn")
    with (
        environment({**WORKER_ENVIRONMENT, "OMP_NUM_THREADS": "1"}),
        context.Manager() as manager,
        ProcessPoolExecutor(workers, mp_context=context) as pool,
    ):
        everyone_ready = manager.Barrier(workers)
        spans = list(
            pool.map(
                _work_alone,
                [str(folder)] * workers,
                [range(first, pairs, workers) for first in range(workers)],
                [pairs] * workers,
                [everyone_ready] * workers,
                [device] * workers,
            )
        )
    return pairs / (max(end for _, end in spans) - min(start for start, _ in spans))


def _work_alone(
    folder: str, numbers: range, pairs: int, everyone_ready: threading.Barrier, device: str
) -> tuple[float, float]:
    """Fuse and score a share of the pairs, and return the start and end times."""
    torch.set_num_threads(1)
    method = get_method(_METHOD)
    parameters = method.parameters()
    options = RunOptions(source="", out="", method=_METHOD)
    weights = find_stored_weights(method, options, parameters, SilentProgress())
    fuse_batch = build_method(method, parameters, weights, device)
    metrics = select_metrics()
    prepare_metrics(metrics, device)
    reader, out = Reader(), Store(f"{folder}/bare")
    shard_size = default_shard_size(pairs)
    everyone_ready.wait(_LONGEST_START_S)
    started = time.time()
    for first in range(0, len(numbers), shard_size):
        records = []
        for number in numbers[first : first + shard_size]:
            uris = [f"{folder}/pairs/{modality}/{number:06d}.png" for modality in ("ir", "vis")]
            images = [
                to_eight_bit(decode_image(reader.read(uri)), parameters.sixteen_bit) for uri in uris
            ]
            ir, vis = ([image] for image in images)
            fused = fuse_images(fuse_batch, ir, vis, parameters, device)
            (scores,) = score_images(ir, vis, fused, metrics, device)
            row = ResultRow(
                pair_id=f"{number:06d}",
                subset="",
                ir_uri=uris[0],
                vis_uri=uris[1],
                collection="bare",
                run=_METHOD,
                method=_METHOD,
                fused={"bytes": encode_png(fused[0]), "path": None},
                metrics=scores.values,
            )
            records.append(row.to_record())
        now = datetime.now(UTC)
        data = encode_shard(
            records, metrics, fingerprint="", shard=first, started=now, committed=now
        )
        out.create(shard_key(numbers[first]), data)
    return started, time.time()
