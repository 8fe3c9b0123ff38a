"""`irfuse bench methods`: what it measures and prints, not how fast this machine is."""

import io
import json
from typing import Any

import pytest
import torch
from rich.console import Console
from support.cli import run_cli

from fusion_core.errors import InvalidValueError
from fusion_core.methods import METHODS
from jobs.bench.methods import VARIANTS, MethodsReport, bench_methods
from jobs.bench.tables import print_methods_report
from jobs.console.commands import app

TINY: dict[str, Any] = {"width": 24, "height": 16, "repeats": 2}


@pytest.fixture(scope="module")
def report() -> MethodsReport:
    """A measurement of one method of each kind."""
    variants: list[tuple[str, dict[str, Any]]] = [
        ("densefuse", {}),
        ("resnet_zca", {"layer": "conv2", "norm": "nuclear"}),
    ]
    return bench_methods(variants=variants, **TINY)


def table(report: MethodsReport) -> str:
    output = io.StringIO()
    print_methods_report(Console(file=output, width=160), report)
    return output.getvalue()


def test_every_method_is_measured_by_default() -> None:
    assert {method for method, _ in VARIANTS} == set(METHODS)


def test_every_method_is_measured_in_each_precision(report: MethodsReport) -> None:
    found = [(timing.method, timing.precision) for timing in report.timings]
    assert found == [
        ("densefuse", "fp32"),
        ("densefuse", "bf16"),
        ("resnet_zca", "fp32"),
        ("resnet_zca", "bf16"),
    ]


def test_the_median_lies_between_the_extremes(report: MethodsReport) -> None:
    for timing in report.timings:
        assert 0 < timing.fastest <= timing.ms_per_megapixel <= timing.slowest


def test_a_network_of_its_own_has_no_backbone(report: MethodsReport) -> None:
    dense, _, zca, _ = report.timings
    assert (dense.backbone_ms_per_megapixel, dense.around_backbone) == (None, None)
    assert zca.backbone_ms_per_megapixel is not None
    expected = zca.ms_per_megapixel / zca.backbone_ms_per_megapixel - 1
    assert zca.around_backbone == pytest.approx(expected)


def test_operations_of_densefuse_are_those_of_its_layers(report: MethodsReport) -> None:
    encoder = 9 * (1 * 16 + 16 * 16 + 32 * 16 + 48 * 16)
    decoder = 9 * (64 * 64 + 64 * 32 + 32 * 16 + 16 * 1)
    dense = report.timings[0]
    expected = 2 * (2 * encoder + decoder) / (dense.ms_per_megapixel * 1e-9) / 1e9
    assert dense.gigaflops == pytest.approx(expected, rel=1e-6)
    assert dense.matmul_share == pytest.approx(dense.gigaflops / dense.matmul_gigaflops)


def test_pairs_per_second_follow_from_the_median() -> None:
    [timing] = bench_methods(
        variants=[("densefuse", {})], precisions=["fp32"], batch=3, **TINY
    ).timings
    assert timing.pairs_per_second == pytest.approx(1e9 / (24 * 16) / timing.ms_per_megapixel)


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        bench_methods(variants=[("densefuse", {})], precisions=["fp32"], **TINY)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "numbers of at least 1, but got 0"),
        ({"device": "tpu"}, "Expected cpu, or cuda where there is a GPU, but got tpu"),
        ({"variants": []}, "Expected at least one method and one precision"),
        ({"precisions": []}, "Expected at least one method and one precision"),
        ({"variants": [("nope", {})]}, "Unknown method 'nope'"),
        ({"variants": [("densefuse", {"layer": 1})]}, "Unknown parameter 'layer'"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        bench_methods(**{**TINY, **settings})


def test_the_table_has_a_line_for_each_measurement(report: MethodsReport) -> None:
    lines = [line for line in table(report).splitlines() if line.endswith("│")]
    assert [line.split()[1] for line in lines] == ["densefuse"] * 2 + ["resnet_zca"] * 2
    assert "layer=conv2 norm=nuclear" in lines[2]
    assert lines[0].split().count("–") == 2


def test_the_command_prints_a_report_as_json() -> None:
    result = run_cli(
        "bench", "methods", "--method", "res2netfuse", "--param", "strategy=l1_norm",
        "--precision", "bf16", "--size", "24x16", "--repeats", "1", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = MethodsReport.model_validate(json.loads(result.stdout))
    [timing] = found.timings
    assert (timing.method, timing.parameters) == ("res2netfuse", {"strategy": "l1_norm"})
    assert (timing.precision, found.width, found.height) == ("bf16", 24, 16)


def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    command = ["bench", "methods", "--method", "densefuse", "--size", "9x7", "--repeats", "1"]
    with pytest.raises(SystemExit) as ended:
        app(command)
    lines = [line for line in capsys.readouterr().out.splitlines() if "densefuse" in line]
    assert (ended.value.code, len(lines)) == (0, 2)


def test_parameters_without_a_method_are_a_usage_error_in_one_line() -> None:
    result = run_cli("bench", "methods", "--param", "radius=1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "Error: Expected --method with --param\n"
