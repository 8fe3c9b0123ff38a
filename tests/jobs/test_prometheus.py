"""A real Prometheus reads two runs at once on two nodes, by the files that we write."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cli import start_cli
from support.collections import run_options, write_pairs
from support.monitoring import (
    base_name,
    dashboard_of,
    metrics_in,
    panel_expressions,
    prometheus_tool,
    rules_of,
    write_files,
)
from support.processes import free_ports, wait_until
from support.s3 import S3Server
from support.s3_proxy import s3_proxy, slow_down
from support.scrape import endpoints

import irfuse
from cluster.runs.record import RunRecord
from cluster.runs.telemetry import METRICS, run_label
from cluster.storage.records import read_record
from cluster.storage.store import Store

pytestmark = pytest.mark.slow
PAIRS, OTHER_PAIRS = 200, 12
DAMAGED, POISONED = 3, 5
LINGER_S = 6.0
"""Three times as long as it takes until a value is sent by Ray and read by Prometheus."""
RECENT = "[15m]"
NODES_S = 60.0
"""Until Ray has reported what it measures of nodes."""
WAIT_S = 240.0


class Prometheus:
    """A Prometheus on this machine."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the value of an expression now."""
        query = urllib.parse.urlencode({"query": expression})
        url = f"http://{self.address}/api/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(folder: Path, files: Path, cluster: str) -> Iterator[Prometheus]:
    """Run a Prometheus with the configuration for one machine, which reads more often."""
    config = yaml.safe_load((files / "prometheus-local.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(files / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(folder / "nodes.json")]
    (folder / "nodes.json").write_text(json.dumps([{"targets": list(endpoints(cluster))}]))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    server = Prometheus(free_ports(1)[0])
    command = [
        prometheus_tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={server.address}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(server.ready, timeout=60, what="Prometheus")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def label_of(out: str, storage_options: dict[str, Any]) -> str:
    store = Store(out, storage_options)
    return run_label(read_record(store, RunRecord), store)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, with a deadline that is over."""
    deadline = {"first": "2020-01-01T00:00Z"}
    return write_files(tmp_path_factory.mktemp("files"), deadline=deadline)


@pytest.fixture(scope="module")
def read(
    files: Path, ray_address: str, s3_moto: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prometheus, str, str]]:
    """A Prometheus that has read two runs to their ends, and the labels of the runs.

    The second run has a damaged pair, and one that kills its worker, and writes to S3, which is
    throttled at first.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    write_pairs(folder / "in", PAIRS)
    other = write_pairs(folder / "other", OTHER_PAIRS)
    other.write(f"vis/{DAMAGED:04d}.png", b"no image")
    key = f"ir/{POISONED:04d}.png"
    other.write(key, other.read(key) + b"irfuse-test-kill")
    first = run_options(
        folder / "in", folder / "first", address=ray_address, method="average", weights=None,
        metrics=("EN",), workers=2, shard_size=20, metrics_linger=LINGER_S,
    )  # fmt: skip
    out = f"s3://{s3_moto.new_bucket()}/second"
    with prometheus(folder, files, ray_address) as server, s3_proxy(s3_moto) as proxy:
        proxy.add(slow_down, "PUT", r"/second/shards/", times=2)
        options = proxy.s3.storage_options
        command = [
            "run", folder / "other", "--out", out, "--address", ray_address, "--workers", 1,
            "--method", "average", "--metrics", "EN", "--shard-size", 4,
            "--max-failure-rate", 0.5, "--metrics-linger", LINGER_S,
            "--storage-options", json.dumps(options),
        ]  # fmt: skip
        with start_cli(*map(str, command)) as second:
            irfuse.run(first)
            result = second.wait(timeout=WAIT_S)
        assert result.returncode == 0, result.stderr
        yield server, label_of(str(first.out), {}), label_of(out, options)


def sums(server: Prometheus, metric: str) -> dict[str, float]:
    """Return the sum of the last values of a metric over all workers, by run."""
    found = server.ask(f"sum by (run) (last_over_time({metric}{RECENT}))")
    return {each["metric"]["run"]: float(each["value"][1]) for each in found}


def test_the_counted_pairs_are_the_rows_of_each_run(read: tuple[Prometheus, str, str]) -> None:
    server, first, second = read
    assert first != second
    found = sums(server, "ray_irfuse_pairs_total")
    assert found[first] == PAIRS
    # What a worker has counted since it last reported is lost if it is killed.
    assert OTHER_PAIRS // 2 <= found[second] <= OTHER_PAIRS
    failed = sums(server, 'ray_irfuse_pairs_total{status="failed"}')
    assert failed.get(first, 0) == 0
    assert failed[second] >= 1
    left = sums(server, 'ray_irfuse_rows{state="left"}')  # of other runs of the cluster, too
    assert (left[first], left[second]) == (0, 0)


def test_every_metric_of_the_alerts_and_the_dashboard_occurs(
    read: tuple[Prometheus, str, str], files: Path
) -> None:
    server, *_ = read
    expressions = [rule["expr"] for rule in rules_of(files)]
    expressions += [expression for _, expression in panel_expressions(files)]
    used = set().union(*map(metrics_in, expressions))
    assert len(used) > 10
    for name in used:
        occurs = partial(server.ask, f"last_over_time({name}{RECENT})")
        wait_until(occurs, timeout=NODES_S, what=f"{name} in Prometheus")
    ours = {base_name(name) for name in used if name.startswith("ray_irfuse_")}
    assert ours | {"irfuse_megapixels_total"} == METRICS.keys()


def test_prometheus_computes_every_panel(read: tuple[Prometheus, str, str], files: Path) -> None:
    server, *_ = read
    for title, expression in panel_expressions(files):
        # The runs are over: what was current then is looked at as of then, in steps of a second,
        # because none of them may have seen the full minute. Ray reports what it measures of
        # nodes every few seconds, so the two runs may have ended before.
        in_seconds = expression.replace(":1m]", ":1s]")
        at_work = partial(server.ask, f"max_over_time(({in_seconds}){RECENT[:-1]}:1s])")
        wait_until(at_work, timeout=NODES_S, what=f"{title}: {expression}")
    assert len(dashboard_of(files)["panels"]) == 12


def test_the_names_of_labels_in_expressions_are_those_of_the_metrics(files: Path) -> None:
    variable = dashboard_of(files)["templating"]["list"][1]["query"]["query"]
    assert variable == "label_values(ray_irfuse_run_info, run)"
    assert "run" in METRICS["irfuse_run_info"].labels
