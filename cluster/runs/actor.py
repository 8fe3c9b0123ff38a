"""The class of the Ray actors that compute shards with a loaded method."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import ray
import torch

from cluster.collections import PairRow
from cluster.runs.config import WorkerConfig
from cluster.runs.messages import ShardReport, ShardTask, WorkerInfo, WorkerProgress
from cluster.runs.pair_state import Failure
from cluster.runs.payload import Payload
from cluster.runs.processors import RunProcessors
from cluster.runs.sampling import MeasuredPart
from cluster.runs.stages import HandedBack, Records
from cluster.runs.telemetry import RayTelemetry
from cluster.session import count_memory_kills, installed_software
from cluster.storage import watched_retries
from fusion_core.compiled.announcing import announced_compilation
from fusion_core.compiled.trial import collected_warnings
from fusion_core.errors import ExtensionError, RunFailedError

_LOST_DEVICE_STATUS = 70


@contextmanager
def _lost_device_ends_process() -> Iterator[None]:
    """End the process on a GPU error, after which all later calls would fail, too.

    The driver then replaces the worker, and isolates the shards that it was computing.
    """
    try:
        yield
    except torch.AcceleratorError:
        os._exit(_LOST_DEVICE_STATUS)


class FusionWorker:
    """Computes up to two shards concurrently, and answers `progress` calls meanwhile."""

    def __init__(self) -> None:
        self._processor: RunProcessors | None = None
        self._activity = ""
        self._telemetry = RayTelemetry()
        self._watch = ExitStack()

    def start(self, config: WorkerConfig, payload: Payload) -> WorkerInfo:
        """Load the method.

        Raises:
            RunFailedError: Code of the user's own cannot be loaded on this node.
            IrfuseError: The weights, the parameters or the output location cannot be used.
        """
        torch.set_num_threads(1)
        torch.backends.cudnn.allow_tf32 = False  # TF32 has less than single precision
        scores_only = config.record.origin.reads_fused
        self._activity = "Loading the metrics" if scores_only else "Loading the method"
        with announced_compilation(self._begin), collected_warnings() as warnings:
            try:
                self._processor = RunProcessors(
                    replace(config, payload=payload), self._processor, self._telemetry
                )
            except ExtensionError as error:
                raise RunFailedError(
                    f"Node {socket.gethostname()}: {error}; every node needs the packages that the "
                    "method and the metrics import"
                ) from error
        self._watch.close()
        self._watch.enter_context(watched_retries(self._processor.retried))
        node_id = ray.get_runtime_context().get_node_id()
        return WorkerInfo(
            installed_software(),
            socket.gethostname(),
            node_id,
            count_memory_kills(),
            tuple(warnings),
        )

    def process(self, task: ShardTask) -> list[ShardReport] | int:
        """Compute and commit a shard of one or several runs.

        If it is handed back, the result is the number of its pairs that were counted.
        """
        try:
            with _lost_device_ends_process():
                return self._loaded.process(task)
        except HandedBack:
            return self._loaded.handed_back(task)

    def measure(self, pairs: Sequence[PairRow]) -> MeasuredPart:
        """Compute pairs, write nothing, and return what that took."""
        with _lost_device_ends_process():
            return self._loaded.measure(pairs)

    def leave(self) -> None:
        """Hand back the shards in work, once the pairs in work are done."""
        self._loaded.leave()

    def offsets(self, task: ShardTask) -> list[int]:
        """Return the offsets of a shard's rows that are to be computed."""
        return self._loaded.offsets(task)

    def process_pair(self, task: ShardTask, offset: int, counted: bool) -> tuple[int, Records]:
        """Compute one row of a shard; the first result is small and signals completion."""
        with _lost_device_ends_process():
            return offset, self._loaded.process_pair(task, offset, counted=counted)

    def commit(
        self, task: ShardTask, rows: dict[int, Any], failures: dict[int, Failure]
    ) -> list[ShardReport]:
        """Commit a shard from references to its rows and the failures of pairs that crashed."""
        records: Records = {}
        for part in ray.get(list(rows.values())):
            records.update(part)
        for offset, failure in failures.items():
            records.update(self._loaded.failed_row(task, offset, failure))
        return self._loaded.commit(task, records)

    def progress(self) -> WorkerProgress:
        """Return the number of steps and of pairs completed since the start."""
        processor = self._processor
        steps, pairs = processor.progress if processor else (0, 0)
        counted = processor.settled() if processor else {}
        return WorkerProgress(self._activity, steps, pairs, count_memory_kills(), counted)

    def _begin(self, activity: str) -> None:
        self._activity = activity

    @property
    def _loaded(self) -> RunProcessors:
        if self._processor is None:
            raise RuntimeError("The worker has no method; call start() first")
        return self._processor
