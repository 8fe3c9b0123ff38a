"""Metrics of the fused image against a reference image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from fusion_core import score
from fusion_core.errors import InvalidValueError, PairMismatchError
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import METRICS, PRESETS, select_metrics
from fusion_core.metrics.scoring import score_images
from fusion_core.metrics.structural.reconstruction import ssim

Pixels = NDArray[np.uint8]
AGAINST = ["SSIM_ref", "PSNR_ref", "MSE_ref", "VIF_ref"]

IR, VIS = synthetic_pair(48, 64, seed=1, colour=False)
FUSED, IDEAL = (IR // 2 + VIS // 2), np.maximum(IR, VIS)


def against(fused: Pixels, ideal: Pixels) -> dict[str, float | None]:
    found = score(IR, VIS, fused, metrics=[], reference=ideal)
    assert list(found) == AGAINST
    return found


def test_metrics_against_a_reference_are_those_of_other_packages() -> None:
    found = against(FUSED, IDEAL)
    assert found["PSNR_ref"] == pytest.approx(peak_signal_noise_ratio(IDEAL, FUSED), rel=1e-12)
    error = mean_squared_error(IDEAL / 255.0, FUSED / 255.0)
    assert found["MSE_ref"] == pytest.approx(error, rel=1e-12)
    assert found["SSIM_ref"] == pytest.approx(ssim(FUSED, IDEAL).item(), rel=1e-12)


def test_the_reference_itself_is_perfect() -> None:
    found = against(IDEAL, IDEAL)
    assert found["PSNR_ref"] is None  # infinite
    rest = {name: value for name, value in found.items() if name != "PSNR_ref"}
    assert rest == pytest.approx({"SSIM_ref": 1.0, "MSE_ref": 0.0, "VIF_ref": 1.0}, abs=1e-9)


def test_the_sources_have_no_influence() -> None:
    assert score(VIS, VIS, FUSED, metrics=[], reference=IDEAL) == against(FUSED, IDEAL)


def test_they_come_after_the_other_metrics_and_change_nothing() -> None:
    found = score(IR, VIS, FUSED, reference=IDEAL)
    assert list(found) == [*select_metrics(), *AGAINST]
    assert {name: found[name] for name in select_metrics()} == score(IR, VIS, FUSED)


def test_they_are_in_no_preset() -> None:
    assert [n for p in PRESETS.values() for n in p.columns if METRICS[n].needs_reference] == []
    assert [name for name, metric in METRICS.items() if metric.needs_reference] == AGAINST


def test_they_cannot_be_computed_without_a_reference() -> None:
    with pytest.raises(InvalidValueError, match="SSIM_ref compares with a reference image: give"):
        score(IR, VIS, FUSED, metrics=["EN", "SSIM_ref"])


def test_a_reference_of_another_size_is_refused() -> None:
    with pytest.raises(PairMismatchError, match="reference image is 64x47 but its sources are"):
        score(IR, VIS, FUSED, reference=IDEAL[1:])


def test_a_pair_without_a_reference_shares_a_batch_with_others() -> None:
    names = ["EN", *AGAINST]
    scores = score_images([IR, IR], [VIS, VIS], [FUSED, FUSED], names, reference=[None, IDEAL])
    assert [scores[0].values[name] for name in AGAINST] == [None] * 4
    assert "SSIM_ref is undefined: the pair has no reference image" in (scores[0].notes or "")
    assert scores[1].values == score(IR, VIS, FUSED, metrics=["EN"], reference=IDEAL)


def test_colour_images_are_compared_per_channel_on_request() -> None:
    fused, ideal = np.stack([FUSED, IR, VIS], axis=2), np.stack([IDEAL, VIS, VIS], axis=2)
    found = score(IR, VIS, fused, metrics=[], reference=ideal, score_colour="per_channel")
    single = [against(fused[..., c], ideal[..., c])["MSE_ref"] for c in range(3)]
    assert found["MSE_ref"] == pytest.approx(np.mean(np.array(single, float)), rel=1e-12)
