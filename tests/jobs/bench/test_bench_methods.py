"""`irfuse bench methods`: measurements and output, independent of the speed of this machine."""

import io
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from rich.console import Console

from fusion_core.errors import InvalidValueError
from fusion_core.methods import METHODS
from jobs.bench.matrix_product import LARGEST_SIDE, MatrixRate, measure_matrix_product
from jobs.bench.methods import bench_methods, default_variants
from jobs.bench.methods_report import MethodsReport, MethodTiming
from jobs.bench.tables import print_methods_report
from jobs.console.commands import build_app

TINY: dict[str, Any] = {"width": 24, "height": 16, "repeats": 2, "longest_s": 1e-9}
DENSEFUSE: list[tuple[str, dict[str, Any]]] = [("densefuse", {})]


@pytest.fixture(scope="module")
def report() -> MethodsReport:
    """A measurement of one method of each kind."""
    variants: list[tuple[str, dict[str, Any]]] = [
        ("densefuse", {}),
        ("resnet_zca", {"layer": "conv2", "norm": "nuclear"}),
    ]
    return bench_methods(variants=variants, **TINY)


EMPTY_REPORT: dict[str, Any] = {
    "machine": "a machine", "versions": {}, "width": 24, "height": 16, "batch": 1, "repeats": 1,
    "timings": [], "peak_memory_mb": 0.0,
}  # fmt: skip


def timing(**values: Any) -> MethodTiming:
    """A timing with values that are easy to calculate with."""
    usual: dict[str, Any] = {
        "method": "resnet152", "parameters": {}, "precision": "fp32", "width": 24, "height": 16,
        "ms_per_megapixel": 30.0, "fastest": 20.0, "slowest": 40.0, "pairs_per_second": 7.0,
        "backbone_ms_per_megapixel": 20.0, "gigaflops": 10.0,
        "matrix_product": MatrixRate(gigaflops=40.0, side=LARGEST_SIDE),
    }  # fmt: skip
    return MethodTiming(**{**usual, **values})


def lines_of(report: MethodsReport) -> list[str]:
    """Return the printed lines on a terminal of 80 columns."""
    output = io.StringIO()
    print_methods_report(Console(file=output, width=80), report)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_every_method_is_measured_by_default_with_parameters_that_it_has() -> None:
    assert list(dict(default_variants())) == list(METHODS)
    for method, parameters in default_variants():
        METHODS[method].parameters.parse(dict(parameters))


def test_every_network_is_measured_in_each_precision(report: MethodsReport) -> None:
    found = [(timing.method, timing.precision) for timing in report.timings]
    assert found == [
        ("densefuse", "fp32"),
        ("densefuse", "bf16"),
        ("resnet_zca", "fp32"),
        ("resnet_zca", "bf16"),
    ]


def test_a_method_without_a_network_is_measured_with_the_weights_that_it_includes() -> None:
    [found] = bench_methods(variants=[("convsr", {})], **TINY).timings
    assert (found.method, found.precision, found.gigaflops) == ("convsr", None, None)


def test_each_measurement_is_announced() -> None:
    messages: list[str] = []
    bench_methods(
        variants=[("densefuse", {"radius": 2})],
        precisions=["bf16"],
        notify=messages.append,
        **TINY,
    )
    assert messages == ["Measuring a matrix product in bf16", "Measuring densefuse radius=2 bf16"]


def test_the_median_lies_between_the_extremes(report: MethodsReport) -> None:
    for found in report.timings:
        assert 0 < found.fastest <= found.ms_per_megapixel <= found.slowest


def test_only_an_imagenet_network_is_timed_by_itself(report: MethodsReport) -> None:
    dense, _, zca, _ = report.timings
    assert (dense.backbone_ms_per_megapixel, dense.around_backbone) == (None, None)
    assert zca.backbone_ms_per_megapixel is not None


def test_shares_are_those_of_the_backbone_and_of_the_matrix_product() -> None:
    assert (timing().around_backbone, timing().matmul_share) == (0.5, 0.25)
    weightless = timing(precision=None, gigaflops=None, matrix_product=None)
    assert weightless.matmul_share is None


def test_operations_of_densefuse_are_those_of_its_layers(report: MethodsReport) -> None:
    encoder = 9 * (1 * 16 + 16 * 16 + 32 * 16 + 48 * 16)
    decoder = 9 * (64 * 64 + 64 * 32 + 32 * 16 + 16 * 1)
    dense = report.timings[0]
    expected = 2 * (2 * encoder + decoder) / (dense.ms_per_megapixel * 1e-9) / 1e9
    assert dense.gigaflops == pytest.approx(expected, rel=1e-6)


def test_a_batch_of_three_pairs_counts_as_three() -> None:
    started = time.perf_counter()
    [found] = bench_methods(variants=DENSEFUSE, precisions=["fp32"], batch=3, **TINY).timings
    # two repeats of three pairs each, and the set-up, took place in this time
    assert found.pairs_per_second > 6 / (time.perf_counter() - started)
    assert found.pairs_per_second == pytest.approx(1e9 / (24 * 16) / found.ms_per_megapixel)


def test_what_takes_too_long_is_measured_by_a_part_and_the_table_says_so() -> None:
    sizes = {**TINY, "width": 70, "height": 40}
    part = bench_methods(variants=DENSEFUSE, precisions=["bf16"], **sizes)
    whole = bench_methods(variants=DENSEFUSE, precisions=["fp32"], **{**sizes, "longest_s": 60.0})
    found = [(report.timings[0].width, report.timings[0].height) for report in (part, whole)]
    assert found == [(32, 32), (70, 40)]
    assert "* with a part of the images, to limit the time: 32x32" in lines_of(part)
    assert not any("a part of" in line for line in lines_of(whole))


def test_the_number_of_threads_is_restored() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        bench_methods(variants=DENSEFUSE, precisions=["fp32"], **TINY)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "counts of at least 1, but got 0"),
        ({"device": "tpu"}, "Expected cpu, or cuda if there is a GPU, but got tpu"),
        ({"variants": []}, "Expected at least one method and one precision"),
        ({"precisions": []}, "Expected at least one method and one precision"),
        ({"variants": [("nope", {})]}, "Unknown method 'nope'"),
        ({"variants": [("densefuse", {"layer": 1})]}, "Unknown parameter 'layer'"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        bench_methods(**{**TINY, **settings})


# The matrix product


def products(
    seconds: Callable[[int], float], sides: list[int]
) -> Callable[[int], list[Callable[[], object]]]:
    """Return a product that takes so many seconds by its side, and notes which sides are asked."""

    def of_side(side: int) -> list[Callable[[], object]]:
        sides.append(side)
        return [partial(time.sleep, seconds(side))]

    return of_side


def test_no_matrix_product_is_computed_that_takes_longer_than_the_limit() -> None:
    sides: list[int] = []
    slow = products(lambda side: 0.05 if side >= 256 else 0.0, sides)
    rate = measure_matrix_product("fp32", "cpu", longest_s=0.35, products=slow)
    assert max(sides) == rate.side == 256
    assert rate.reduced
    assert rate.gigaflops < 2 * 256**3 / 0.05 / 1e9


def test_matrices_are_as_large_as_intended_where_time_allows() -> None:
    sides: list[int] = []
    quick = products(lambda side: 0.0, sides)
    rate = measure_matrix_product("fp32", "cpu", longest_s=60.0, products=quick)
    assert (rate.side, rate.reduced) == (LARGEST_SIDE, False)


def test_the_fastest_of_several_products_counts() -> None:
    rate = measure_matrix_product(
        "fp32", "cpu", longest_s=1e-9, products=lambda side: [partial(time.sleep, 0.02), lambda: 0]
    )
    assert rate.gigaflops > 2 * 64**3 / 0.01 / 1e9


# What is printed


def test_the_table_fits_eighty_columns_whatever_is_measured() -> None:
    timings = [
        timing(
            method=name, parameters=dict(parameters), precision=precision, width=12,
            ms_per_megapixel=987654.3, fastest=876543.2, slowest=1087654.3,
            pairs_per_second=1234.56, backbone_ms_per_megapixel=345678.9,
            matrix_product=MatrixRate(gigaflops=40.0, side=64),
        )
        for name, parameters in default_variants()
        for precision in ("fp32", "bf16")
    ]  # fmt: skip
    lines = lines_of(MethodsReport(**{**EMPTY_REPORT, "timings": timings}))
    assert lines[2].split() == [
        "method", "prec", "median", "spread", "pairs/s", "network", "rest", "matmul",
    ]  # fmt: skip
    numbers = ["987654*", "21%", "1234.56", "345679", "1.86x", "25%*"]
    found = [line.split()[-6:] for line in lines if "987654" in line]
    assert found == [numbers] * len(timings)
    assert max(map(len, lines)) <= 80


def test_a_method_is_named_once_with_a_line_for_each_parameter(report: MethodsReport) -> None:
    table = lines_of(report)[4:9]
    assert [line[:22].rstrip() for line in table] == [
        "densefuse", "", "resnet_zca", "  layer=conv2", "  norm=nuclear",
    ]  # fmt: skip
    assert [line.split()[-7] for line in (*table[:1], *table[2:4])] == ["fp32", "fp32", "bf16"]
    assert [line.count("–") for line in table] == [2, 2, 0, 0, 0]


def test_the_report_says_where_a_part_or_a_smaller_matrix_product_was_measured() -> None:
    small = MatrixRate(gigaflops=40.0, side=64)
    part = timing(method="cbf", precision=None, gigaflops=None, matrix_product=None, width=12)
    timings = [timing(), timing(method="densefuse", matrix_product=small), part]
    lines = lines_of(MethodsReport(**{**EMPTY_REPORT, "timings": timings}))
    assert [line for line in lines if line.startswith("*")] == [
        "* with a part of the images, to limit the time: 12x16",
        "* with a smaller matrix product, to limit the time: 64x64",
    ]
    marked = [line.split()[0] for line in lines[4:7] if "*" in line]
    assert marked == ["densefuse", "cbf"]


def run_command(*arguments: str) -> None:
    sizes = ["--size", "9x7", "--repeats", "1", "--precision", "fp32", "--longest-seconds", "0.001"]
    with pytest.raises(SystemExit) as ended:
        build_app()(["bench", "methods", *sizes, *arguments])
    assert ended.value.code == 0


def test_the_command_prints_a_report_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    run_command("--method", "res2netfuse", "--param", "strategy=l1_norm", "--json")
    found = MethodsReport.model_validate(json.loads(capsys.readouterr().out))
    [only] = found.timings
    assert (only.method, only.parameters) == ("res2netfuse", {"strategy": "l1_norm"})
    assert (only.precision, found.width, found.height) == ("fp32", 9, 7)


def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_command("--method", "densefuse")
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("densefuse  ")]) == 1


def test_parameters_without_a_method_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="Expected --method together with --param"):
        build_app()(["bench", "methods", "--param", "radius=1"])
