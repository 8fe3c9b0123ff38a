"""The processing stages of a pair: read, decode, check, fuse, score, encode."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeAlias, TypeVar

from cluster.collections import PairRow
from cluster.runs.computer import Computer, DeviceComputer
from cluster.runs.config import WorkerConfig
from cluster.runs.loading import WINDOWS_AHEAD, PairLoader
from cluster.runs.measures import check_measures
from cluster.runs.origins import EightBit, FusedCell, Fuser, Origin
from cluster.runs.pair_state import Failure, PairState
from cluster.runs.rows import TIMED_STAGES, ResultRow
from cluster.runs.stage_names import Stage
from cluster.runs.steps import Steps
from cluster.storage import redact
from fusion_core.extensions import load_metric
from fusion_core.images import prepare_images
from fusion_core.metrics import (
    Scores,
    adopt_metric,
    prepare_metrics,
    score_fused_images,
)

T = TypeVar("T")

_GPU_BATCH_PIXELS = 8 * 1024 * 1024
_LEAST_PIXELS = 256 * 256
"""Minimum size that a pair counts as, because of the memory of its joint histogram."""
_CODEC_THREADS = {"cpu": 8, "cuda": 16}
"""Images that are decoded or encoded at the same time."""

Records = dict[int, dict[str, Any]]
_Encoding: TypeAlias = "tuple[Sequence[PairState], list[Future[None]]]"
"""A window of pairs, and the encoding of its images."""


class HandedBack(Exception):
    """The rest of a shard is not computed, because the worker is about to be taken away."""


class PairStages:
    """The stages, with a reader, the loaded method, and threads for input and output.

    The class is thread-safe. A lock limits computing to one call at a time, so that reading and
    encoding of one call overlap with computing of another.

    Args:
        config: Settings of the worker.
        fuser: The loaded method, if it is the one of the run.
        computer: What computes; by default the method and the metrics of the run.
    """

    def __init__(
        self,
        config: WorkerConfig,
        fuser: Fuser | None = None,
        computer: Computer | None = None,
    ) -> None:
        self._record = config.record
        self._origin: Origin = config.record.origin
        self._device = config.device
        self.steps = Steps()
        self._io = ThreadPoolExecutor(_CODEC_THREADS[config.device], thread_name_prefix="irfuse-io")
        self.loader = PairLoader(config, self.steps, self._io)
        self.computing = threading.Lock()
        self._leaving = threading.Event()
        self._node = socket.gethostname()
        self.pairs_done = 0
        self.fuser = fuser
        self.computer = computer or self._load(config)

    def _load(self, config: WorkerConfig) -> Computer:
        """Load what computes: the method, unless it is loaded already, and the metrics."""
        self.fuser = self.fuser or self._origin.load(config.payload, config.device)
        for extension in config.payload.metrics:
            adopt_metric(load_metric(extension, sent=True))
        check_measures(config.record)
        prepare_images()
        prepare_metrics(config.record.metrics, config.device)
        return DeviceComputer(config, self.fuser)

    def leave(self) -> None:
        """Let shards be handed back, as soon as the pairs in work are done."""
        self._leaving.set()

    def check_staying(self) -> None:
        """Do nothing unless the worker is about to be taken away.

        Raises:
            HandedBack: It is.
        """
        if self._leaving.is_set():
            raise HandedBack

    def compute(
        self,
        rows: Mapping[int, PairRow],
        attempts: Mapping[int, int],
        on_window: Callable[[Sequence[PairState], Records], None] = lambda states, records: None,
    ) -> Records:
        """Process pairs through all stages.

        Args:
            rows: Mapping from offset in the shard to manifest row.
            attempts: Mapping from offset to the value of the `attempt` column.
            on_window: Called with each window of pairs, and their rows.

        Returns:
            Mapping from offset to the columns of the row.

        Raises:
            HandedBack: The worker is about to be taken away, and this is more than one pair.
        """
        records: Records = {}
        encoding: deque[_Encoding] = deque()

        def settle() -> None:
            states, results = encoding.popleft()
            finished = self._to_records(states, results, attempts)
            on_window(states, finished)
            records.update(finished)

        with closing(self.loader.windows([PairState(o, r) for o, r in rows.items()])) as windows:
            for states in windows:
                self._compute_window(states, may_leave=len(rows) > 1)
                encoding.append((states, self._start_encoding(states)))
                if len(encoding) > WINDOWS_AHEAD[self._device]:
                    settle()
        while encoding:
            settle()
        return records

    def _compute_window(self, states: Sequence[PairState], *, may_leave: bool) -> None:
        """Fuse and score loaded pairs."""
        batches = list(self._batches(states))
        for batch in batches:
            self.computer.upload(batch)
        with self.computing:
            for batch in batches:
                if may_leave:
                    self.check_staying()
                if self.computer.fuses:
                    self._fuse(batch)
                self.score([state for state in batch if state.failure is None])
                self.pairs_done += len(batch)
                for state in batch:
                    state.on_device = None
        self.pairs_done += sum(1 for state in states if state.ir is None)

    def finish(self, states: Sequence[PairState], attempts: Mapping[int, int]) -> Records:
        """Encode the fused images of pairs, release all images, and return the rows."""
        return self._to_records(states, self._start_encoding(states), attempts)

    def _start_encoding(self, states: Sequence[PairState]) -> list[Future[None]]:
        return [self._io.submit(self._encode, state) for state in states]

    def _to_records(
        self,
        states: Sequence[PairState],
        encoding: Sequence[Future[None]],
        attempts: Mapping[int, int],
    ) -> Records:
        """Return the rows of pairs, once their images are encoded."""
        for encoded in encoding:
            encoded.result()
        self.steps.note_traced(states)
        return {state.offset: self._to_record(state, attempts[state.offset]) for state in states}

    def failed_record(self, row: PairRow, failure: Failure, attempt: int) -> dict[str, Any]:
        """Return the row of a pair that crashed its workers."""
        return self._to_record(PairState(0, row, failure=failure), attempt)

    def _batches(self, states: Sequence[PairState]) -> Iterator[list[PairState]]:
        """Group loaded pairs by shape: single pairs on a CPU, up to a pixel budget on a GPU."""
        groups: dict[tuple[int, ...], list[PairState]] = {}
        for state in states:
            if state.ir is not None and state.vis is not None:
                groups.setdefault((*state.vis.shape, len(state.further)), []).append(state)
        for shape, group in groups.items():
            budget = _GPU_BATCH_PIXELS if self._device == "cuda" else 1
            size = max(1, budget // max(shape[0] * shape[1], _LEAST_PIXELS))
            for first in range(0, len(group), size):
                yield group[first : first + size]

    def _fuse(self, batch: list[PairState]) -> None:
        for state, fused in self._batch_step(batch, "fuse", self.computer.fuse):
            state.fused = fused

    def score(self, batch: list[PairState]) -> None:
        """Score loaded pairs of one shape that have a fused image."""
        if batch and self._record.metrics:
            for state, scores in self._batch_step(batch, "score", self.computer.score):
                state.scores = scores

    def score_fused(self, ir: EightBit, vis: EightBit, fused: list[EightBit]) -> list[Scores]:
        """Score several fused images of one pair."""
        record = self._record
        return score_fused_images(ir, vis, fused, record.metrics, self._device, record.channels)

    def _batch_step(
        self,
        batch: list[PairState],
        stage: Stage,
        compute: Callable[[Sequence[PairState]], list[T]],
    ) -> Iterator[tuple[PairState, T]]:
        """Compute a batch; if that fails, compute its pairs singly to isolate the failing ones."""
        results = self.steps.run(batch, stage, lambda: compute(batch))
        if results is not None:
            yield from zip(batch, results, strict=True)
        elif len(batch) > 1:
            for state in batch:
                state.failure = None
                yield from self._batch_step([state], stage, compute)

    def _encode(self, state: PairState) -> None:
        fused, origin = state.fused, self._origin
        if state.failure is None and fused is not None:

            def to_cell() -> FusedCell | None:
                return origin.to_cell(state.row, fused)

            state.cell = self.steps.run([state], "encode", to_cell) if origin.encodes else to_cell()
        state.ir = state.vis = state.fused = state.reference = state.on_device = None
        state.further = []

    def _to_record(self, state: PairState, attempt: int) -> dict[str, Any]:
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
            resized=state.resized,
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
