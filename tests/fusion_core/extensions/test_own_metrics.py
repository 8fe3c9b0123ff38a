from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.extensions import METRIC, install_package, write_code

import irfuse
from fusion_core.errors import ContractError, ExtensionError, InvalidValueError
from fusion_core.extensions.metrics import choose_metrics, find_own_metric
from fusion_core.metrics import METRICS

RNG = np.random.default_rng(0)
IR, VIS, FUSED = (RNG.integers(0, 256, (20, 30), dtype=np.uint8) for _ in range(3))


def test_a_file_is_a_metric_of_the_function_for_one_pair(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"m.py": METRIC}) / "m.py"
    scores = irfuse.score(IR, VIS, FUSED, metrics=["SD", f"{file}:contrast", "EN"])
    assert list(scores) == ["EN", "SD", "contrast"]
    assert scores["contrast"] == pytest.approx(FUSED.std())
    assert "contrast" not in METRICS


def test_a_metric_of_an_installed_package_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"irfuse.metrics contrast": "metricpackage:contrast"}
    install_package(tmp_path, "metricpackage", points, {"metricpackage.py": METRIC})
    monkeypatch.syspath_prepend(tmp_path)
    assert irfuse.score(IR, VIS, FUSED, metrics=["contrast"])["contrast"] == pytest.approx(
        FUSED.std()
    )
    with pytest.raises(InvalidValueError, match="did you mean contrast"):
        choose_metrics(["contrst"])


def test_a_metric_of_batches_gets_tensors_of_the_device() -> None:
    @irfuse.metric(higher_is_better=None, range="-inf..inf", batch=True, name="Difference")
    def difference(ir: Any, vis: Any, fused: Any) -> Any:
        assert ir.shape == vis.shape == fused.shape == (1, 1, 20, 30)
        return (fused.double() - ir.double()).mean(dim=(1, 2, 3))

    expected = FUSED.mean() - IR.mean()
    assert difference.name == "Difference"
    assert difference(IR, VIS, FUSED).item() == pytest.approx(expected)


def test_nan_is_undefined_with_the_stated_reason(tmp_path: Path) -> None:
    code = METRIC.replace("fused.std()", "float('nan')")
    file = write_code(tmp_path, {"m.py": code}) / "m.py"
    assert irfuse.score(IR, VIS, FUSED, metrics=[f"{file}:contrast"]) == {"contrast": None}
    assert find_own_metric(f"{file}:contrast").metric.undefined == "it returned NaN"


@pytest.mark.parametrize("value", ["fused", "None", "'text'", "[1, 2]"])
def test_what_is_no_number_is_an_error(tmp_path: Path, value: str) -> None:
    code = METRIC.replace("fused.std()", value)
    file = write_code(tmp_path, {"m.py": code}) / "m.py"
    with pytest.raises(ContractError, match="must return a number, but got"):
        irfuse.score(IR, VIS, FUSED, metrics=[f"{file}:contrast"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def contrast(ir, vis, fused): ...", "with the decorator @irfuse.metric"),
        (METRIC.replace("contrast", "EN"), "EN is the name of a metric or preset of irfuse"),
        (METRIC.replace("contrast", "vifb"), "vifb is the name of a metric or preset of irfuse"),
        (METRIC.replace("vis, fused", "fused"), r"Expected a function of \(ir, vis, fused\)"),
        (METRIC.replace("range=", "name='1st', range="), "letters, digits and underscores"),
    ],
)
def test_what_is_no_metric_is_refused(tmp_path: Path, code: str, message: str) -> None:
    file = write_code(tmp_path, {"m.py": code}) / "m.py"
    name = next(name for name in ("EN", "vifb", "contrast") if f"def {name}(" in code)
    with pytest.raises(ExtensionError, match=message):
        find_own_metric(f"{file}:{name}")


def test_two_metrics_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_code(tmp_path / folder, {"m.py": METRIC})
    names = [f"{tmp_path}/{folder}/m.py:contrast" for folder in ("a", "b")]
    with pytest.raises(InvalidValueError, match="Two metrics have the name 'contrast'"):
        choose_metrics(names)


def test_colour_images_are_scored_per_channel_if_that_is_requested(tmp_path: Path) -> None:
    file = write_code(tmp_path, {"m.py": METRIC}) / "m.py"
    colour = np.stack([FUSED, IR, VIS], axis=2)
    names = [f"{file}:contrast"]
    scores = irfuse.score(IR, VIS, colour, metrics=names, score_colour="per_channel")
    assert scores["contrast"] == pytest.approx(np.mean([FUSED.std(), IR.std(), VIS.std()]))
