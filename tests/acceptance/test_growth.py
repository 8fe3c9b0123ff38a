"""The measurement of growth: what it measures and prints, not how fast this machine is."""

import io
import json

import fsspec
import pytest
from rich.console import Console
from support.cli import run_module

from cluster.collections import FusedImages, discover
from cluster.storage import Store
from fusion_core.errors import InvalidValueError
from tests.acceptance.growth import (
    DiscoveryReport,
    GrowthReport,
    NamesOnly,
    measure_growth,
    parse_counts,
    print_discovery,
    print_report,
)

pytestmark = pytest.mark.slow


def test_runs_of_growing_size_are_measured_and_printed() -> None:
    result = run_module("tests.acceptance.growth", "--rows", "30", "--json", timeout=240)
    assert result.returncode == 0, result.stderr
    report = GrowthReport(**json.loads(result.stdout))
    [point] = report.points
    assert point.rows == 30
    assert min(point.plan_seconds, point.finished_seconds, point.ms_per_pair) > 0
    assert 50 < point.driver_memory_mb < 10_000
    output = io.StringIO()
    print_report(Console(file=output, width=160), report)
    assert f"{point.driver_memory_mb:.0f}" in output.getvalue()
    assert "took 0 MB more" in output.getvalue()


def test_the_search_for_pairs_of_growing_folders_is_measured_and_printed() -> None:
    result = run_module(
        *("tests.acceptance.growth", "folders", "--pairs", "40", "--frames", "4"),
        *("--labels", "--fused", "--json"),
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    report = DiscoveryReport(**json.loads(result.stdout))
    [point] = report.points
    assert point.pairs == 40
    assert point.fused_seconds is not None
    assert 50 < point.libraries_mb <= point.memory_mb < 10_000
    output = io.StringIO()
    print_discovery(Console(file=output, width=160), report)
    assert f"{point.memory_mb:.0f}" in output.getvalue()


def test_a_file_system_of_names_holds_pairs_in_scenes() -> None:
    fsspec.register_implementation("names", NamesOnly, clobber=True)
    collection = discover(Store("names://2/3/lwir+visible+labels"))
    found = collection.discovery
    assert [pair.pair_id for pair in found.pairs][::3] == [
        "scene0000000/I0000000",
        "scene0000001/I0000000",
    ]
    assert (len(found.pairs), len(collection.labels.rows), found.leftover) == (6, 6, False)
    images = FusedImages(Store("names://2/3/fused")).added_to(collection.batches)
    assert "" not in [uri for batch in images() for uri in batch["fused_uri"].to_pylist()]


@pytest.mark.parametrize("rows", [[], [0, 10], [10, 10], [20, 10]])
def test_numbers_of_rows_that_do_not_grow_are_refused(rows: list[int]) -> None:
    with pytest.raises(InvalidValueError, match="growing numbers of rows"):
        measure_growth(rows)


def test_numbers_are_separated_by_commas() -> None:
    assert parse_counts("1000, 10_000") == [1000, 10_000]
    with pytest.raises(InvalidValueError, match="numbers such as 1000,10000, but got 10,many"):
        parse_counts("10,many")
