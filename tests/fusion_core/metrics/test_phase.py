"""Phase congruency and its parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusion_core.compiled import dispatch
from fusion_core.metrics.phase.congruency import find_features
from fusion_core.metrics.phase.log_gabor import ORIENTATIONS, SCALES, filter_bank
from fusion_core.metrics.phase.median import median

CPU = torch.device("cpu")


@pytest.fixture(params=["kernels", "tensors"])
def _code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute with the compiled kernels, and with what runs on other devices."""
    if request.param == "tensors":
        monkeypatch.setattr(dispatch, "use_kernels", lambda images: False)


def noise(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(shape).standard_normal(shape)


VALUES = {
    "one": noise(1),
    "two": noise(2),
    "odd": noise(10_001),
    "even": noise(99_998),
    "few levels": noise(50_000).round(),
    "equal": np.full(30_000, 0.3),
    "sorted": np.sort(noise(60_000)),
    # Every sample of the first bounds is an outlier.
    "unfair sample": np.where(np.arange(81_920) % 20 == 0, 1e6, noise(81_920)),
}


@pytest.mark.usefixtures("_code")
@pytest.mark.parametrize("name", VALUES)
def test_the_median_is_that_of_all_values(name: str) -> None:
    assert median(torch.from_numpy(VALUES[name])) == np.median(VALUES[name])


@pytest.mark.usefixtures("_code")
@pytest.mark.parametrize("level", [0.0, 90.0, 255.0])
def test_a_flat_image_has_no_features(level: float) -> None:
    features = find_features(torch.full((1, 31, 40), level, dtype=torch.float64))
    assert features.congruency.abs().max() == 0.0
    assert (features.edges - features.corners).abs().max() == pytest.approx(1e-4)


@pytest.mark.usefixtures("_code")
def test_features_do_not_depend_on_brightness() -> None:
    image = torch.from_numpy(noise(1, 31, 40) * 40.0)
    for first, second in zip(find_features(image), find_features(image + 77.0), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("_code")
def test_phase_congruency_is_largest_at_a_step() -> None:
    image = torch.zeros(1, 48, 64, dtype=torch.float64)
    image[:, :, 32:] = 100.0
    congruency = find_features(image).congruency[0, 24, 8:56]
    assert int(congruency.argmax()) + 8 in (31, 32)
    assert congruency.max() > 0.5


@pytest.mark.parametrize("size", [(8, 10), (9, 11), (9, 10)])
def test_the_spread_is_the_energy_of_the_impulse_response(size: tuple[int, int]) -> None:
    bank = filter_bank(*size, CPU)
    for n in range(ORIENTATIONS):
        impulses = torch.fft.ifft2(bank.radial * bank.angular[n]).real * math.sqrt(math.prod(size))
        assert bank.spreads[n] == pytest.approx(impulses.sum(dim=0).square().sum().item())


def test_filters_have_no_response_to_brightness() -> None:
    bank = filter_bank(12, 17, CPU)
    assert bank.radial.shape == (SCALES, 12, 17)
    assert bank.radial[:, 0, 0].abs().max() == 0.0
