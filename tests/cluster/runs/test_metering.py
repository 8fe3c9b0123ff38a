"""What a worker counts, without Ray."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.computed_runs import compute_run

from cluster.runs import metering
from cluster.runs.config import WorkerConfig
from cluster.runs.messages import ShardTask
from cluster.runs.record import RunRecord
from cluster.runs.telemetry import METRICS, run_info, run_label
from cluster.runs.worker import ShardProcessor
from cluster.storage.retries import Retry
from cluster.storage.store import Store

PAIRS = 20


class Sums:
    """Adds up the values of metrics."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()

    def record(self, name: str, value: float, **labels: str) -> None:
        assert labels.keys() == set(METRICS[name].labels)
        self.values[name] += value  # type: ignore[assignment]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RunRecord]:
    """A run of one shard that is not computed, one of whose pairs is damaged."""
    folder = tmp_path_factory.mktemp("metering")
    return compute_run(folder, PAIRS, damaged=[0], shards=range(0), shard_size=PAIRS)


def processor(computed: tuple[Store, RunRecord], sums: Sums) -> ShardProcessor:
    out, record = computed
    for entry in out.entries("shards"):
        out.delete(entry.key)
    return ShardProcessor(WorkerConfig(record, out), telemetry=sums)


def test_pairs_that_a_dead_worker_counted_are_not_counted_again(
    computed: tuple[Store, RunRecord],
) -> None:
    sums = Sums()
    report = processor(computed, sums).process(ShardTask(0, attempt=2, counted=17))
    assert (report.computed, sums.values["irfuse_pairs_total"]) == (PAIRS, 3)


def test_counts_settle_when_ray_has_sent_them(
    computed: tuple[Store, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = Sums()
    worker = processor(computed, sums)
    settled: list[dict[int, int]] = []
    send = worker.meter._send

    def look(name: str, value: float, **labels: str) -> None:
        settled.append(worker.meter.settled())
        send(name, value, **labels)

    monkeypatch.setattr(metering, "REPORT_INTERVAL_S", 0.0)
    monkeypatch.setattr(worker.meter, "_send", look)
    worker.process(ShardTask(0))
    counts = [found[0] for found in settled if found]
    assert counts[-1] == PAIRS
    assert counts == sorted(counts)
    assert len(set(counts)) > 2  # one for each window
    assert worker.meter.settled() == {}


def test_counts_that_may_be_lost_are_not_settled(computed: tuple[Store, RunRecord]) -> None:
    worker = processor(computed, Sums())
    count = worker.window_counter(ShardTask(0))
    worker.stages.compute({1: worker.rows(0)[1]}, {1: 1}, count)
    assert worker.meter.settled() == {0: 0}


def test_the_report_tells_the_first_failure_of_its_kind_with_its_traceback(
    computed: tuple[Store, RunRecord],
) -> None:
    worker = processor(computed, Sums())
    work = worker.process(ShardTask(0)).work
    (failed,) = work.failures
    (first,) = work.first_failures
    assert (failed.pair_id, failed.stage, failed.type) == ("0000", "decode", "ImageDecodeError")
    assert (first.pair_id, first.stage, first.type) == ("0000", "decode", "ImageDecodeError")
    assert "Traceback" in first.traceback
    assert first.traceback.rstrip().endswith(failed.message[-20:])
    computed[0].delete("shards/shard-000000.parquet")
    again = worker.process(ShardTask(0)).work
    assert (len(again.failures), again.first_failures) == (1, ())
    assert again.usage.bytes_read == work.usage.bytes_read > 0  # a report tells what is new


def test_usage_is_what_was_read_computed_and_written(computed: tuple[Store, RunRecord]) -> None:
    sums = Sums()
    worker = processor(computed, sums)
    worker.meter.retried(Retry("read", "503"))
    usage = worker.process(ShardTask(0)).work.usage
    out = computed[0]
    (shard,) = out.entries("shards")
    assert usage.bytes_written == shard.size
    assert usage.megapixels == pytest.approx(sum_of_megapixels())
    assert usage.bytes_read + usage.bytes_written == sums.values["irfuse_bytes_total"]
    assert 0 < usage.compute_seconds == pytest.approx(sums.values["irfuse_compute_seconds_total"])
    assert usage.retries == {"read 503": 1}
    assert (usage + usage).retries == {"read 503": 2}


def test_bytes_of_shards_that_are_committed_at_the_same_time_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = compute_run(tmp_path, 2, shards=range(0), shard_size=1)
    worker = ShardProcessor(WorkerConfig(record, out))
    both, create = threading.Barrier(2), Store.create

    def create_together(self: Store, key: str, data: bytes) -> bool:
        both.wait(timeout=60)
        return create(self, key, data)

    monkeypatch.setattr(Store, "create", create_together)
    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(worker.process, [ShardTask(0), ShardTask(1)]))
    written = sum(report.work.usage.bytes_written for report in reports)
    assert written == sum(entry.size for entry in out.entries("shards")) > 0


def sum_of_megapixels() -> float:
    from support.collections import SIZES

    sizes = [SIZES[number % len(SIZES)] for number in range(1, PAIRS)]  # the first one is damaged
    return sum(height * width for height, width in sizes) / 1e6


def test_labels_never_hold_a_path(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 1, shards=range(0))
    weights: dict[str, Any] = {"weights": "/home/me/weights.pt", "weights_sha256": "ab" * 32}
    origin = record.origin.model_copy(update={"method": "/home/me/own.py:Method", **weights})
    secret = record.model_copy(update={"origin": origin})
    labels = [run_label(secret, out), *run_info(secret, "cpu").values()]
    assert not any("/" in label for label in labels)
    assert "own.py:Method" in labels
    assert "abababababab" in labels
