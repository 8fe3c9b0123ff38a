"""Metrics of runs on a cluster of two nodes, as Prometheus reads them."""

from pathlib import Path

import pytest
from support.collections import run_options, write_pairs
from support.scrape import Sample, scrape, total

import irfuse
from cluster.runs.record import RunRecord
from cluster.runs.telemetry import METRICS, run_label
from cluster.storage.records import read_record
from cluster.storage.store import Store
from jobs.options import RunOptions
from jobs.progress import SilentProgress

PAIRS, DAMAGED = 12, 2
LINGER_S = 3.0
"""Three times as long as Ray waits in tests until it sends metrics."""


def label_of(out: Path) -> str:
    store = Store(str(out))
    return run_label(read_record(store, RunRecord), store)


class Scraper(SilentProgress):
    """Reads the metrics while the workers of a run linger, and keeps the last of each series."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}

    def message(self, text: str) -> None:
        if "--metrics-linger" in text:
            found = scrape(self._address)
            self.samples |= {(s.name, frozenset(s.labels.items())): s for s in found}


def run_and_scrape(options: RunOptions) -> list[Sample]:
    """Compute a run, and return its metrics at the end."""
    scraper = Scraper(str(options.address))
    irfuse.run(options, scraper)
    run = label_of(Path(options.out))
    return [sample for sample in scraper.samples.values() if sample.labels.get("run") == run]


@pytest.fixture(scope="module")
def options(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> RunOptions:
    """Options of a run, two of whose pairs fail."""
    folder = tmp_path_factory.mktemp("metrics")
    source = write_pairs(folder / "in", PAIRS)
    for number in range(DAMAGED):
        source.write(f"vis/{number:04d}.png", b"no image")
    return run_options(
        folder / "in", folder / "watched", address=ray_address, workers=4, method="average",
        weights=None, metrics=("EN",), max_failure_rate=0.5, metrics_linger=LINGER_S,
    )  # fmt: skip


@pytest.fixture(scope="module")
def samples(options: RunOptions) -> list[Sample]:
    """Its metrics."""
    return run_and_scrape(options)


def test_every_pair_is_counted_once(samples: list[Sample]) -> None:
    name = "ray_irfuse_pairs_total"
    assert total(samples, name) == PAIRS
    assert total(samples, name, status="failed", method="average") == DAMAGED
    failures = total(
        samples, "ray_irfuse_pair_failures_total", stage="decode", type="ImageDecodeError"
    )
    assert failures == DAMAGED


def test_both_nodes_have_computed_and_each_stage_is_timed(samples: list[Sample]) -> None:
    stages = "ray_irfuse_stage_seconds_count"
    assert total(samples, stages, stage="read") == PAIRS
    assert total(samples, stages, stage="fuse") == PAIRS - DAMAGED
    assert total(samples, stages, stage="commit") == PAIRS // 3
    read = total(samples, "ray_irfuse_bytes_total", direction="read")
    written = total(samples, "ray_irfuse_bytes_total", direction="write")
    assert read > 0
    assert written > 0
    assert total(samples, "ray_irfuse_megapixels_total") > 0
    assert total(samples, "ray_irfuse_compute_seconds_total") > 0


def test_the_driver_shows_that_nothing_is_left(samples: list[Sample]) -> None:
    rows = {s.labels["state"]: s.value for s in samples if s.name == "ray_irfuse_rows"}
    assert rows == {"total": PAIRS, "done": PAIRS, "failed": DAMAGED, "left": 0}
    assert total(samples, "ray_irfuse_workers") == 0
    assert total(samples, "ray_irfuse_last_commit_timestamp_seconds") > total(
        samples, "ray_irfuse_started_timestamp_seconds"
    )
    (info,) = (s.labels for s in samples if s.name == "ray_irfuse_run_info")
    known = {"method": "average", "collection": "in", "weights": "none", "device": "cpu"}
    assert known.items() <= info.items()


def test_types_and_labels_are_those_of_the_table(samples: list[Sample]) -> None:
    seen = set()
    for sample in samples:
        name = sample.name.removeprefix("ray_")
        for suffix in ("_bucket", "_count", "_sum"):
            name = name.removesuffix(suffix)
        seen.add(name)
        assert sample.kind == METRICS[name].kind
        assert set(METRICS[name].labels) <= sample.labels.keys()
    rare = {"irfuse_storage_retries_total", "irfuse_worker_deaths_total", "irfuse_eta_seconds"}
    assert seen | rare == METRICS.keys()


def test_a_retry_counts_the_pairs_that_it_computes_again(
    options: RunOptions, samples: list[Sample]
) -> None:
    again = run_and_scrape(options.model_copy(update={"retry_failed": True}))
    assert total(again, "ray_irfuse_pairs_total") == PAIRS + DAMAGED
