"""The metrics that a run exports through Ray, and how they are set.

Ray adds the prefix `ray_` and labels of its own, such as the node, and every node's metrics agent
offers them to Prometheus. A label never holds a path, the name of a pair or a message, so that the
number of time series does not grow with the collection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from cluster.runs.events import LOGGER
from cluster.runs.origins import AnyOrigin, MethodOrigin
from cluster.runs.record import RunRecord
from cluster.storage import Store

_RUN_DIGITS = 8
_WEIGHTS_DIGITS = 12
_OTHER = "other"

STAGE_BUCKETS_S = (
    0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0,
)  # fmt: skip
"""Upper bounds of the buckets of `irfuse_stage_seconds`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


METRICS: dict[str, Metric] = {
    "irfuse_pairs_total": Metric(
        "counter", ("run", "method", "status"), "Pairs computed, by status (ok, failed)."
    ),
    "irfuse_pair_failures_total": Metric(
        "counter", ("run", "stage", "type"), "Failed pairs, by stage and class of the error."
    ),
    "irfuse_stage_seconds": Metric(
        "histogram", ("run", "stage"), "Seconds per pair in a stage; of `commit`, per shard."
    ),
    "irfuse_megapixels_total": Metric(
        "counter", ("run",), "Width times height of the pairs computed, in megapixels."
    ),
    "irfuse_bytes_total": Metric(
        "counter", ("run", "direction"), "Bytes of sources read, and of shards written."
    ),
    "irfuse_compute_seconds_total": Metric(
        "counter", ("run", "node"), "Seconds that workers spent on fusing and scoring."
    ),
    "irfuse_storage_retries_total": Metric(
        "counter", ("run", "operation", "code"), "Requests to the storage that were repeated."
    ),
    "irfuse_rows": Metric(
        "gauge", ("run", "state"), "Rows of the run (total, done, failed, left)."
    ),
    "irfuse_workers": Metric("gauge", ("run", "state"), "Workers (ready, starting)."),
    "irfuse_worker_deaths_total": Metric(
        "counter", ("run", "reason"), "Workers that died (crash, hung, node, memory)."
    ),
    "irfuse_eta_seconds": Metric("gauge", ("run",), "Estimated seconds until the last commit."),
    "irfuse_last_commit_timestamp_seconds": Metric(
        "gauge", ("run",), "Unix time of the last commit of a shard."
    ),
    "irfuse_started_timestamp_seconds": Metric(
        "gauge", ("run",), "Unix time at which the driver began."
    ),
    "irfuse_run_info": Metric(
        "gauge",
        ("run", "method", "collection", "weights", "version", "device"),
        "1, with the settings of the run as labels.",
    ),
}
"""All metrics by their names, without the prefix that Ray adds."""

FAILURE_TYPES = frozenset(
    {
        "AccessDeniedError", "AssertionError", "AttributeError", "ContractError", "ExtensionError",
        "FloatingPointError", "ImageDecodeError", "ImportError", "IndexError",
        "InvalidValueError", "IrfuseError", "KeyError", "LinAlgError", "MemoryError",
        "NotFoundError", "NotImplementedError", "OSError", "OutOfMemoryError", "OverflowError",
        "PairMismatchError", "RuntimeError", "StorageError", "TimeoutError", "TypeError",
        "ValueError", "WeightsError", "WorkerDied", "ZeroDivisionError",
    }
)  # fmt: skip
"""Classes of errors that are values of the label `type`; all others are `other`."""


def run_label(record: RunRecord, out: Store) -> str:
    """Return the value of the label `run`: digits of the fingerprint, and the last part of OUT."""
    return f"{record.fingerprint[:_RUN_DIGITS]}-{out.url.rstrip('/').rpartition('/')[2]}"


def failure_type(name: str) -> str:
    """Return the value of the label `type` for a class of errors.

    Example:
        >>> failure_type("NotFoundError"), failure_type("MyError")
        ('NotFoundError', 'other')
    """
    return name if name in FAILURE_TYPES else _OTHER


def run_info(record: RunRecord, device: str) -> dict[str, str]:
    """Return the labels of `irfuse_run_info` besides the run."""
    return {
        "method": method_label(record),
        "collection": record.collection,
        "weights": _weights_label(record.origin),
        "version": record.irfuse_version,
        "device": device,
    }


def _weights_label(origin: AnyOrigin) -> str:
    """Return the name of the weights, or digits of their SHA-256 if the name is a path."""
    if not isinstance(origin, MethodOrigin) or origin.weights is None:
        return "none"
    if "/" in origin.weights and origin.weights_sha256 is not None:
        return origin.weights_sha256[:_WEIGHTS_DIGITS]
    return origin.weights


def method_label(record: RunRecord) -> str:
    """Return the value of the label `method`: its name, or of a file the last part of the path."""
    return record.origin.method.rpartition("/")[2]


class Telemetry(Protocol):
    """Where the values of metrics go."""

    def record(self, name: str, value: float, **labels: str) -> None:
        """Increase a counter, set a gauge, or add a value to a histogram."""


class NoTelemetry:
    """Discards all values."""

    def record(self, name: str, value: float, **labels: str) -> None:
        """Discard the value."""


class RayTelemetry:
    """Gives all values to the Ray process, which sends them to the metrics agent of its node.

    A run never fails because of its metrics: after the first error there is one warning, and all
    later values are discarded.
    """

    def __init__(self) -> None:
        self._recorders = {name: _recorder(name, metric) for name, metric in METRICS.items()}

    def record(self, name: str, value: float, **labels: str) -> None:
        """Increase a counter, set a gauge, or add a value to a histogram."""
        if name not in self._recorders:
            return
        try:
            self._recorders[name](value, labels)
        except Exception as error:  # noqa: BLE001 - metrics never fail a run
            self._recorders.clear()
            LOGGER.warning("Metrics are not exported (%s: %s)", type(error).__name__, error)


def _recorder(name: str, metric: Metric) -> Callable[[float, dict[str, str]], None]:
    """Create a metric of Ray, and return the function that takes its values."""
    from ray.util.metrics import Counter, Gauge, Histogram

    if metric.kind == "gauge":
        return Gauge(name, metric.help, metric.labels).set
    if metric.kind == "histogram":
        return Histogram(name, metric.help, list(STAGE_BUCKETS_S), metric.labels).observe
    counter = Counter(name, metric.help, metric.labels)

    def add(value: float, labels: dict[str, str]) -> None:
        if value > 0:  # Ray refuses 0
            counter.inc(value, labels)

    return add
