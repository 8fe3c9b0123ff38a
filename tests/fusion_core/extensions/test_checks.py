"""The checks of methods and metrics, in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bad_methods import BAD_METHODS, DEADLY, NAMED_LINES
from support.extensions import METRIC, write_code

import irfuse
from fusion_core.extensions.checks import METHOD_CHECKS
from fusion_core.extensions.code import pack
from fusion_core.extensions.defining import to_method_spec
from fusion_core.extensions.guarding import ProcessState
from fusion_core.extensions.method_subject import MethodSubject
from fusion_core.extensions.metric_checks import METRIC_CHECKS, MetricSubject
from fusion_core.extensions.metrics import find_own_metric
from fusion_core.extensions.names import parse_target
from fusion_core.extensions.outcomes import Outcome
from fusion_core.extensions.watching import network_refused
from fusion_core.methods import METHODS, MethodSpec
from fusion_core.metrics import METRICS

CHECKED = [name for name in METHOD_CHECKS if name != "tiling"]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = ProcessState.now()
    yield
    before.restore()


def check(spec: MethodSpec, *names: str) -> dict[str, Outcome]:
    with network_refused() as attempts:
        subject = MethodSubject(spec, spec.parameters(), quick=True, attempts=attempts)
        subject.build()
        return {name: METHOD_CHECKS[name](subject) for name in names or CHECKED}


def failed(outcomes: dict[str, Outcome]) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.status == "failed"]


def own(folder: Path, code: str, name: str) -> MethodSpec:
    file = write_code(folder, {"m.py": code}) / "m.py"
    extension = pack(parse_target(f"{file}:{name}"), "irfuse.methods")
    return to_method_spec(extension.load("irfuse.methods"), extension.name)


@pytest.mark.parametrize("name", [name for name in NAMED_LINES if name not in DEADLY])
def test_each_bad_method_fails_at_its_line(tmp_path: Path, name: str) -> None:
    outcomes = check(own(tmp_path, BAD_METHODS, name))
    assert NAMED_LINES[name] in failed(outcomes)
    assert outcomes[NAMED_LINES[name]].hint
    if name != "batch_normalised":  # which does not take a single pixel either
        assert failed(outcomes) == [NAMED_LINES[name]]


@pytest.mark.parametrize("name", ["cbf", "gff", "average"])
def test_methods_of_irfuse_pass(name: str) -> None:
    assert failed(check(METHODS[name])) == []


def test_a_method_that_treats_both_sources_alike_is_pointed_out() -> None:
    outcome = check(METHODS["average"], "order of sources")["order of sources"]
    assert outcome.status == "warning"


def test_an_exception_is_explained_with_the_line_of_the_code(tmp_path: Path) -> None:
    code = "import torch\n\ndef fuse(ir, vis):\n    return torch.zeros(2) @ torch.zeros(3)\n"
    outcome = check(own(tmp_path, code, "fuse"), "runs")["runs"]
    assert outcome.status == "failed"
    assert outcome.hint.endswith("(RuntimeError, m.py line 4)")


def test_parameters_that_accept_anything_fail(tmp_path: Path) -> None:
    class Anything(irfuse.MethodParameters, extra="allow"):
        pass

    spec = irfuse.method(parameters=Anything)(lambda ir, vis: ir)
    assert failed(check(spec, "parameters")) == ["parameters"]


def test_expected_images_are_compared_by_their_mean_difference() -> None:
    spec = METHODS["average"]
    ir, vis = np.full((8, 9), 10, np.uint8), np.full((8, 9), 20, np.uint8)
    for value, status in ((15, "passed"), (16, "passed"), (17, "failed")):
        expected = [np.full((8, 9), value, np.uint8)]
        subject = MethodSubject(spec, spec.parameters(), pairs=[(ir, vis)], expected=expected)
        subject.build()
        assert METHOD_CHECKS["expected images"](subject).status == status


def check_metric(metric: Any, *names: str) -> dict[str, Outcome]:
    subject = MetricSubject(metric)
    return {name: METRIC_CHECKS[name](subject) for name in names or METRIC_CHECKS}


@pytest.mark.parametrize("name", ["EN", "SCD", "Qabf"])
def test_metrics_of_irfuse_pass(name: str) -> None:
    assert failed(check_metric(METRICS[name])) == []


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("fused.std() - 5", "range"),
        ("float('nan')", "defined"),
        ("float((fused - ir).std())", "gray levels"),
        ("np.random.random()", "global state"),
        ("next(CALLS)", "deterministic"),
        ("fused", "runs"),
        ("1 / 0", "runs"),
    ],
)
def test_each_bad_metric_fails_at_its_line(tmp_path: Path, body: str, line: str) -> None:
    code = "import itertools\nimport numpy as np\nCALLS = itertools.count()\n"
    file = write_code(tmp_path, {"m.py": code + METRIC.replace("fused.std()", body)}) / "m.py"
    assert line in failed(check_metric(find_own_metric(f"{file}:contrast").metric))


def test_a_metric_that_raises_for_small_images_is_pointed_out(tmp_path: Path) -> None:
    body = "fused[10, 10] / 2.0"
    file = write_code(tmp_path, {"m.py": METRIC.replace("fused.std()", body)}) / "m.py"
    outcome = check_metric(find_own_metric(f"{file}:contrast").metric, "sizes")["sizes"]
    assert (outcome.status, outcome.value) == ("warning", "1x1")
    assert "return NaN" in outcome.hint
