"""Measures of pyiqa and torchmetrics as metrics."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional.image as reference
from numpy.typing import NDArray
from support.environment import child_environment

from fusion_core import score
from fusion_core.errors import InvalidValueError, WeightsError
from fusion_core.metrics import (
    LIBRARY_METRICS,
    MEASURES,
    METRICS,
    PRESETS,
    column_of,
    find_metric,
    identify_measure,
    prepare_metrics,
    select_channels,
    select_metrics,
)
from fusion_core.metrics.libraries import loading

Pixels = NDArray[np.uint8]


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


IR, VIS, FUSED = noise(1, 40, 52), noise(2, 40, 52, 3), noise(3, 40, 52, 3)


def to_unit(image: Pixels) -> torch.Tensor:
    """Return `(1, 3, H, W)` in 0..1."""
    channels = np.stack([image] * 3) if image.ndim == 2 else np.moveaxis(image, 2, 0)
    return torch.from_numpy(channels.astype(np.float32) / 255.0).unsqueeze(0)


def psnr(x: Pixels, y: Pixels) -> float:
    return reference.peak_signal_noise_ratio(to_unit(x), to_unit(y), data_range=1.0).item()


def test_columns_are_identifiers_that_differ_from_each_other_and_from_metrics() -> None:
    names = [*LIBRARY_METRICS, *METRICS, *PRESETS]
    assert len({name.lower() for name in names}) == len(names)
    assert [n for n in LIBRARY_METRICS if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", n)] == []


def test_measures_are_requested_by_library_and_name_and_have_columns() -> None:
    for column, measure in MEASURES.items():
        assert column_of(measure.requested) == column == measure.column
    names = ["torchmetrics:psnr", "EN", "pyiqa:clipiqa+", "vifb"]
    expected = ["EN", "torchmetrics_psnr", "pyiqa_clipiqa_plus"]
    assert [n for n in select_metrics(names) if n in expected] == expected
    assert select_metrics(["pyiqa_lpips"]) == ["pyiqa_lpips"]


def test_measures_are_in_no_preset() -> None:
    assert [n for preset in PRESETS.values() for n in preset.columns if n in LIBRARY_METRICS] == []


def test_an_unknown_measure_is_refused_with_those_of_its_library() -> None:
    with pytest.raises(InvalidValueError, match=r"'pyiqa:lpip'; did you mean pyiqa:lpips"):
        select_metrics(["pyiqa:lpip"])


def test_the_direction_of_a_column_is_known_without_its_library() -> None:
    found = [find_metric(f"pyiqa_{name}") for name in ("lpips", "ssim", "niqe", "musiq")]
    directions = [metric.higher_is_better for metric in found if metric]
    assert directions == [False, True, False, True]
    assert find_metric("pyiqa_") is None


def test_all_measures_of_torchmetrics_are_found_in_it() -> None:
    measures = {m.name for m in MEASURES.values() if m.library == "torchmetrics"}
    assert measures == set(loading._TORCHMETRICS)


def test_a_measure_that_compares_is_the_mean_over_both_sources() -> None:
    gray = IR, VIS[..., 0], FUSED[..., 0]
    found = score(*gray, metrics=["torchmetrics:psnr"])
    expected = (psnr(gray[2], gray[0]) + psnr(gray[2], gray[1])) / 2
    assert found == {"torchmetrics_psnr": pytest.approx(expected, rel=1e-6)}


def test_as_toolkit_measures_all_channels_at_once_and_luma_does_not() -> None:
    found = score(IR, VIS, FUSED, metrics=["torchmetrics:psnr"], score_colour="as_toolkit")
    expected = (psnr(FUSED, IR) + psnr(FUSED, VIS)) / 2
    assert found == {"torchmetrics_psnr": pytest.approx(expected, rel=1e-6)}
    assert found != score(IR, VIS, FUSED, metrics=["torchmetrics:psnr"])
    assert select_channels(["torchmetrics:psnr"], "luma") == {}


def test_a_measure_of_images_that_are_too_small_is_refused_with_its_name_and_their_size() -> None:
    with pytest.raises(
        InvalidValueError, match=r"torchmetrics:ms_ssim cannot measure images of 52x40 pixels: .+"
    ):
        score(IR, VIS, FUSED, metrics=["torchmetrics:ms_ssim"])


def test_measuring_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    score(IR, VIS, FUSED, metrics=["torchmetrics:uqi"])
    assert torch.equal(torch.get_rng_state(), before)


def test_measures_are_prepared_like_other_metrics() -> None:
    prepare_metrics(["EN", "torchmetrics_ssim"])
    assert loading.load_measure.cache_info().currsize > 0


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(
        InvalidValueError,
        match=r"^pyiqa:lpips needs the package pyiqa: pip install 'irfuse\[iqa\]'$",
    ):
        score(IR, VIS, FUSED, metrics=["pyiqa:lpips"])


def test_weights_that_cannot_be_downloaded_are_named_with_their_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def download(*arguments: Any) -> loading.Compute:
        print('Downloading: "https://weights.example/alex.pth" to /cache/alex.pth', file=sys.stderr)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(loading, "_load_torchmetrics", download)
    with pytest.raises(
        WeightsError,
        match=r"torchmetrics:lpips are not on .*\(urlopen error no route to host\): save "
        r"https://weights\.example/alex\.pth as /cache/alex\.pth$",
    ):
        score(IR, VIS, FUSED, metrics=["torchmetrics:lpips"])


def test_a_measure_is_identified_by_version_and_weights() -> None:
    measure = MEASURES["torchmetrics_psnr"]
    assert identify_measure(measure) == {
        "measure": "torchmetrics:psnr",
        "version": loading.version("torchmetrics"),
    }
    layer = torch.nn.Linear(2, 3)
    digest = loading._digest(layer)
    assert len(digest) == 64
    with torch.no_grad():
        layer.bias[0] += 1.0
    assert loading._digest(layer) != digest


def test_listing_metrics_imports_neither_library_nor_torch() -> None:
    code = (
        "import sys; from fusion_core.metrics import LIBRARY_METRICS, find_metric; "
        "assert find_metric('pyiqa_lpips'); "
        "print(sorted({'torch', 'pyiqa', 'torchmetrics'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


class TestPyiqa:
    """What needs pyiqa, which is large."""

    @pytest.fixture(autouse=True)
    def _pyiqa(self) -> None:
        pytest.importorskip("pyiqa", reason="pyiqa is not installed: pip install 'irfuse[iqa]'")

    def test_measures_compare_and_have_the_directions_that_pyiqa_states(self) -> None:
        from pyiqa.default_model_configs import DEFAULT_CONFIGS

        for measure in MEASURES.values():
            if measure.library == "pyiqa":
                stated = DEFAULT_CONFIGS[measure.name]
                assert measure.compares == (stated["metric_mode"] == "FR"), measure.name
                lower = stated.get("lower_better", False)
                assert measure.higher_is_better == (not lower), measure.name

    def test_measures_without_weights_are_those_of_pyiqa(self) -> None:
        import pyiqa

        for name in ("psnr", "gmsd", "piqe"):
            metric = pyiqa.create_metric(name, device="cpu")
            f, a, b = (to_unit(image) for image in (FUSED, IR, VIS))
            pairs = ((f, a), (f, b)) if metric.metric_mode == "FR" else ((f,),)
            expected = np.mean([metric(*pair).item() for pair in pairs])
            found = score(IR, VIS, FUSED, metrics=[f"pyiqa:{name}"], score_colour="as_toolkit")
            assert found == {f"pyiqa_{name}": pytest.approx(expected, rel=1e-6)}
