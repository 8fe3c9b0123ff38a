"""The processing stages of a pair: read, decode, check, fuse, score, encode.

If a stage raises an exception, the pair becomes a failed row with the reason, and the job
continues.
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
from cluster.runs.origins import FusedCell, Fuser, Origin
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
"""Minimum size that a pair counts as, because of the memory of its joint histogram."""
_IO_THREADS = 8
_LONGEST_MESSAGE = 500
_WORDS = {"ir": "infrared", "vis": "visible", "fused": "fused"}


@dataclass(frozen=True)
class WorkerConfig:
    """Settings of a worker: the record of the run, and those that are not part of it."""

    record: RunRecord
    out: Store
    """Output location of the run; sources are read with the same storage options."""
    weights: Weights | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    def on_device(self, device: Literal["cpu", "cuda"]) -> WorkerConfig:
        """Return the settings for workers on a device, without the weights, which are sent once."""
        return replace(self, device=device, weights=None)


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a pair has no result."""

    stage: Stage
    type: str
    message: str


@dataclass(slots=True)
class _PairState:
    """The state of a pair that is processed."""

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
    """The stages, with a reader, the loaded method, and threads for input and output.

    The class is thread-safe. A lock limits computing to one call at a time, so that reading and
    encoding of one call overlap with computing of another.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._record = config.record
        self._origin: Origin = config.record.origin
        self._device = config.device
        self._reader = Reader(config.out.storage_options)
        self._io = ThreadPoolExecutor(_IO_THREADS, thread_name_prefix="irfuse-io")
        self._compute = threading.Lock()
        self._node = socket.gethostname()
        self.steps = 0
        """Number of completed steps; a worker is considered hung if it does not increase."""
        self.pairs_done = 0
        self._fuser = self._origin.load(config.weights, config.device)
        prepare_metrics(config.record.metrics, config.device)

    def compute(self, rows: Mapping[int, PairRow], attempts: Mapping[int, int]) -> Records:
        """Process pairs through all stages.

        Args:
            rows: Mapping from offset in the shard to manifest row.
            attempts: Mapping from offset to the value of the `attempt` column.

        Returns:
            Mapping from offset to the columns of the row.
        """
        states = list(self._io.map(self._load, [_PairState(o, row) for o, row in rows.items()]))
        with self._compute:
            for batch in self._batches(states):
                if self._fuser is not None:
                    self._fuse(batch, self._fuser)
                self._score([state for state in batch if state.failure is None])
                self.pairs_done += len(batch)
        self.pairs_done += sum(1 for state in states if state.ir is None)
        list(self._io.map(self._encode, states))
        return {state.offset: self._to_record(state, attempts[state.offset]) for state in states}

    def failed_record(self, row: PairRow, failure: Failure, attempt: int) -> dict[str, Any]:
        """Return the row of a pair that crashed its workers."""
        return self._to_record(_PairState(0, row, failure=failure), attempt)

    def _load(self, state: _PairState) -> _PairState:
        """Read, decode and check one pair, and its fused image if that is an existing file."""
        uris = {"ir": state.row.ir_uri, "vis": state.row.vis_uri}
        if self._origin.reads_fused:
            uris["fused"] = state.row.fused_uri
        data = self._step([state], "read", lambda: self._read(uris))
        if data is None:
            return state
        images = self._step([state], "decode", lambda: self._decode(data))
        if images is None:
            return state
        state.size = images[0].shape[1], images[0].shape[0]
        if self._step([state], "check", lambda: _check_sizes(images)) is None:
            return state
        eight_bit = self._step([state], "decode", lambda: [self._to_eight_bit(i) for i in images])
        if eight_bit is not None:
            state.ir, state.vis = eight_bit[:2]
            state.fused = eight_bit[2] if len(eight_bit) > 2 else None
        return state

    def _read(self, uris: Mapping[str, str]) -> dict[str, bytes]:
        for name, uri in uris.items():
            if not uri:
                raise IrfuseError(f"The manifest has no {_WORDS[name]} image for this pair")
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

    def _batches(self, states: Sequence[_PairState]) -> Iterator[list[_PairState]]:
        """Group loaded pairs by shape: single pairs on a CPU, up to a pixel budget on a GPU."""
        groups: dict[tuple[int, ...], list[_PairState]] = {}
        for state in states:
            if state.ir is not None and state.vis is not None:
                groups.setdefault(state.vis.shape, []).append(state)
        for shape, group in groups.items():
            budget = _GPU_BATCH_PIXELS if self._device == "cuda" else 1
            size = max(1, budget // max(shape[0] * shape[1], _LEAST_PIXELS))
            for first in range(0, len(group), size):
                yield group[first : first + size]

    def _fuse(self, batch: list[_PairState], fuser: Fuser) -> None:
        def fuse(states: list[_PairState]) -> list[NDArray[np.uint8]]:
            ir = [state.ir for state in states if state.ir is not None]
            vis = [state.vis for state in states if state.vis is not None]
            return fuser(ir, vis)

        for state, fused in self._batch_step(batch, "fuse", fuse):
            state.fused = fused

    def _score(self, batch: list[_PairState]) -> None:
        def score(states: list[_PairState]) -> list[Scores]:
            ir = [state.ir for state in states if state.ir is not None]
            vis = [state.vis for state in states if state.vis is not None]
            fused = [state.fused for state in states if state.fused is not None]
            return score_images(ir, vis, fused, self._record.metrics, self._device)

        if batch and self._record.metrics:
            for state, scores in self._batch_step(batch, "score", score):
                state.scores = scores

    def _batch_step(
        self, batch: list[_PairState], stage: Stage, compute: Callable[[list[_PairState]], list[T]]
    ) -> Iterator[tuple[_PairState, T]]:
        """Compute a batch; if that fails, compute its pairs singly to isolate the failing ones."""
        results = self._step(batch, stage, lambda: compute(batch))
        if results is not None:
            yield from zip(batch, results, strict=True)
        elif len(batch) > 1:
            for state in batch:
                state.failure = None
                yield from self._batch_step([state], stage, compute)

    def _encode(self, state: _PairState) -> None:
        fused, origin = state.fused, self._origin
        if state.failure is None and fused is not None:
            if origin.encodes:
                state.cell = self._step([state], "encode", lambda: origin.to_cell(state.row, fused))
            else:
                state.cell = origin.to_cell(state.row, fused)
        state.ir = state.vis = state.fused = None

    def _step(
        self, states: Sequence[_PairState], stage: Stage, action: Callable[[], T]
    ) -> T | None:
        """Run one stage for a pair or batch; this is where an exception becomes a failed row."""
        started = time.perf_counter()
        try:
            return action()
        except torch.AcceleratorError:
            raise  # the process has lost its device, and all later results would be invalid
        except Exception as error:  # noqa: BLE001
            for state in states:
                state.failure = _to_failure(stage, error)
            return None
        finally:
            spent = (time.perf_counter() - started) * 1e3 / len(states)
            for state in states:
                state.spent_ms[stage] = state.spent_ms.get(stage, 0.0) + spent
            self.steps += 1

    def _to_record(self, state: _PairState, attempt: int) -> dict[str, Any]:
        failure = state.failure
        scores = state.scores if failure is None and state.scores else Scores({})
        row = ResultRow(
            pair_id=state.row.pair_id,
            subset=state.row.subset,
            ir_uri=redact(state.row.ir_uri),
            vis_uri=redact(state.row.vis_uri),
            collection=self._record.collection,
            run=self._record.name,
            method=self._origin.method,
            width=state.size[0] if state.size else None,
            height=state.size[1] if state.size else None,
            status="failed" if failure else "ok",
            error_stage=failure.stage if failure else None,
            error_type=failure.type if failure else None,
            error_message=failure.message if failure else None,
            fused=None if failure else state.cell,
            metrics={name: scores.values.get(name) for name in self._record.metrics},
            metric_notes=scores.notes,
            **{f"{stage}_ms": state.spent_ms.get(stage) for stage in TIMED_STAGES},
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
