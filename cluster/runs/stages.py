"""The stages that a pair passes: read, decode, check, fuse, score, encode.

A stage that raises makes its pair a failed row with the reason; the job goes on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.collections import PairRow
from cluster.runs.origins import FusedCell, Fuser
from cluster.runs.record import RunRecord
from cluster.runs.rows import TIMED_STAGES, ResultRow, Stage
from cluster.storage import Reader, Store, redact, redact_text
from fusion_core.errors import IrfuseError
from fusion_core.images import Pixels, decode_four_channel, decode_image, to_eight_bit
from fusion_core.methods import check_registered
from fusion_core.metrics import Scores, prepare_metrics, score_images
from fusion_core.networks import Weights

T = TypeVar("T")

_GPU_BATCH_PIXELS = 8 * 1024 * 1024
_LEAST_PIXELS = 256 * 256
"""What a small pair counts as: its joint histogram is as large as that."""
_IO_THREADS = 8
_LONGEST_MESSAGE = 500
_WORDS = {"ir": "infrared", "vis": "visible", "fused": "fused"}


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is told: the record of the run, and the few facts that are not in it."""

    record: RunRecord
    out: Store
    """Where the run is kept; sources are read with the same storage options."""
    weights: Weights | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    def on_device(self, device: Literal["cpu", "cuda"]) -> WorkerConfig:
        """Return what is sent to a worker on a device; the weights are sent apart from it."""
        return replace(self, device=device, weights=None)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pair has no result."""

    stage: Stage
    type: str
    message: str


@dataclass(slots=True)
class _Work:
    """A pair on its way through the stages."""

    offset: int
    row: PairRow
    ir: NDArray[np.uint8] | None = None
    vis: NDArray[np.uint8] | None = None
    fused: NDArray[np.uint8] | None = None
    cell: FusedCell | None = None
    scores: Scores | None = None
    failure: Failure | None = None
    size: tuple[int, int] | None = None
    spent_ms: dict[str, float] = field(default_factory=dict)


Records = dict[int, dict[str, Any]]


class PairStages:
    """The stages with what they need: a reader, the loaded method, threads for input and output.

    Thread-safe: several calls may be in work at once; a lock keeps computing to one at a time, so
    that reading and encoding of one overlap the computing of another.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._record, self._origin = config.record, config.record.origin
        self._device = config.device
        self._reader = Reader(config.out.storage_options)
        self._io = ThreadPoolExecutor(_IO_THREADS, thread_name_prefix="irfuse-io")
        self._compute = threading.Lock()
        self._node = socket.gethostname()
        self.steps = 0
        """Grows with every step of work; a number that stands still means a worker that hangs."""
        self.pairs_done = 0
        self._fuser = self._origin.load(config.weights, config.device)
        prepare_metrics(config.record.metrics, config.device)

    def compute(self, rows: Mapping[int, PairRow], attempts: Mapping[int, int]) -> Records:
        """Take pairs through all stages.

        Args:
            rows: Offset in the shard to manifest row.
            attempts: Offset to the number that the row's `attempt` column gets.

        Returns:
            Offset to the row's columns.
        """
        works = list(self._io.map(self._load, [_Work(o, row) for o, row in rows.items()]))
        with self._compute:
            for batch in self._batches(works):
                if self._fuser is not None:
                    self._fuse(batch, self._fuser)
                self._score([work for work in batch if work.failure is None])
                self.pairs_done += len(batch)
        self.pairs_done += sum(1 for work in works if work.ir is None)
        list(self._io.map(self._encode, works))
        return {work.offset: self._to_record(work, attempts[work.offset]) for work in works}

    def failed_record(self, row: PairRow, failure: Failure, attempt: int) -> dict[str, Any]:
        """Return the row of a pair that could not be computed at all."""
        return self._to_record(_Work(0, row, failure=failure), attempt)

    def _load(self, work: _Work) -> _Work:
        """Read, decode and check one pair (and its fused image when that was made elsewhere)."""
        uris = {"ir": work.row.ir_uri, "vis": work.row.vis_uri}
        if self._origin.reads_fused:
            uris["fused"] = work.row.fused_uri
        data = self._step([work], "read", lambda: self._read(uris))
        if data is None:
            return work
        images = self._step([work], "decode", lambda: self._decode(data))
        if images is None:
            return work
        work.size = images[0].shape[1], images[0].shape[0]
        if self._step([work], "check", lambda: _check_sizes(images)) is None:
            return work
        eight_bit = self._step([work], "decode", lambda: [self._to_eight_bit(i) for i in images])
        if eight_bit is not None:
            work.ir, work.vis = eight_bit[:2]
            work.fused = eight_bit[2] if len(eight_bit) > 2 else None
        return work

    def _read(self, uris: Mapping[str, str]) -> dict[str, bytes]:
        for name, uri in uris.items():
            if not uri:
                raise IrfuseError(f"The manifest names no {_WORDS[name]} image for this pair")
        if uris["ir"] == uris["vis"]:
            shared = self._read_object(uris["ir"])
            return {n: shared if n != "fused" else self._read_object(u) for n, u in uris.items()}
        return {name: self._read_object(uri) for name, uri in uris.items()}

    def _read_object(self, uri: str) -> bytes:
        data = self._reader.read(uri)
        self.steps += 1
        return data

    def _decode(self, data: Mapping[str, bytes]) -> list[Pixels]:
        limit = self._record.max_pixels
        if data["ir"] is data["vis"]:
            images = list(decode_four_channel(data["ir"], max_pixels=limit))
        else:
            images = [_decode_named(name, data[name], limit) for name in ("ir", "vis")]
        if "fused" in data:
            images.append(_decode_named("fused", data["fused"], limit))
        return images

    def _to_eight_bit(self, image: Pixels) -> NDArray[np.uint8]:
        return to_eight_bit(image, self._origin.sixteen_bit)

    def _batches(self, works: Sequence[_Work]) -> Iterator[list[_Work]]:
        """Group loaded pairs by shape: singly on a CPU, up to a pixel budget on a GPU."""
        groups: dict[tuple[int, ...], list[_Work]] = {}
        for work in works:
            if work.ir is not None and work.vis is not None:
                groups.setdefault(work.vis.shape, []).append(work)
        for shape, group in groups.items():
            budget = _GPU_BATCH_PIXELS if self._device == "cuda" else 1
            size = max(1, budget // max(shape[0] * shape[1], _LEAST_PIXELS))
            for first in range(0, len(group), size):
                yield group[first : first + size]

    def _fuse(self, batch: list[_Work], fuser: Fuser) -> None:
        def fuse(works: list[_Work]) -> list[NDArray[np.uint8]]:
            ir = [work.ir for work in works if work.ir is not None]
            vis = [work.vis for work in works if work.vis is not None]
            return fuser(ir, vis)

        for work, fused in self._batch_step(batch, "fuse", fuse):
            work.fused = fused

    def _score(self, batch: list[_Work]) -> None:
        def score(works: list[_Work]) -> list[Scores]:
            ir = [work.ir for work in works if work.ir is not None]
            vis = [work.vis for work in works if work.vis is not None]
            fused = [work.fused for work in works if work.fused is not None]
            return score_images(ir, vis, fused, self._record.metrics, self._device)

        if batch and self._record.metrics:
            for work, scores in self._batch_step(batch, "score", score):
                work.scores = scores

    def _batch_step(
        self, batch: list[_Work], stage: Stage, compute: Callable[[list[_Work]], list[T]]
    ) -> Iterator[tuple[_Work, T]]:
        """Compute a batch; if that fails, its pairs one by one, so that only the bad ones fail."""
        results = self._step(batch, stage, lambda: compute(batch))
        if results is not None:
            yield from zip(batch, results, strict=True)
        elif len(batch) > 1:
            for work in batch:
                work.failure = None
                yield from self._batch_step([work], stage, compute)

    def _encode(self, work: _Work) -> None:
        fused = work.fused
        if work.failure is None and fused is not None:
            work.cell = self._step([work], "encode", lambda: self._origin.to_cell(work.row, fused))
        work.ir = work.vis = work.fused = None

    def _step(self, works: Sequence[_Work], stage: Stage, action: Callable[[], T]) -> T | None:
        """Run one stage for one pair or batch: the boundary where an exception becomes a row."""
        started = time.perf_counter()
        try:
            return action()
        except torch.AcceleratorError:
            raise  # the process has lost its device: nothing that it does now can be trusted
        except Exception as error:  # noqa: BLE001
            for work in works:
                work.failure = _to_failure(stage, error)
            return None
        finally:
            spent = (time.perf_counter() - started) * 1e3 / len(works)
            for work in works:
                work.spent_ms[stage] = work.spent_ms.get(stage, 0.0) + spent
            self.steps += 1

    def _to_record(self, work: _Work, attempt: int) -> dict[str, Any]:
        failure = work.failure
        scores = work.scores if failure is None and work.scores else Scores({})
        row = ResultRow(
            pair_id=work.row.pair_id,
            subset=work.row.subset,
            ir_uri=redact(work.row.ir_uri),
            vis_uri=redact(work.row.vis_uri),
            run=self._record.name,
            method=self._origin.method,
            width=work.size[0] if work.size else None,
            height=work.size[1] if work.size else None,
            status="failed" if failure else "ok",
            error_stage=failure.stage if failure else None,
            error_type=failure.type if failure else None,
            error_message=failure.message if failure else None,
            fused=None if failure else work.cell,
            metrics={name: scores.values.get(name) for name in self._record.metrics},
            metric_notes=scores.notes,
            **{f"{stage}_ms": work.spent_ms.get(stage) for stage in TIMED_STAGES},
            attempt=attempt,
            node=self._node,
        )
        return row.to_record()


def _check_sizes(images: Sequence[Pixels]) -> bool:
    check_registered(*images)
    return True


def _decode_named(name: str, data: bytes, max_pixels: int) -> Pixels:
    try:
        return decode_image(data, max_pixels=max_pixels)
    except IrfuseError as error:
        raise type(error)(f"{_WORDS[name]} image: {error}") from None


def _to_failure(stage: Stage, error: Exception) -> Failure:
    text = redact_text(str(error)) or type(error).__name__
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        text = f"Not enough memory for this pair: {text}"
    return Failure(stage, type(error).__name__, " ".join(text.split())[:_LONGEST_MESSAGE])
