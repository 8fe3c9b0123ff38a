from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.reference_metrics import REFERENCES

from fusion_core.errors import InvalidValueError
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import METRICS, list_metrics, select_metrics
from fusion_core.metrics.compiled import dispatch
from fusion_core.metrics.edges import edges
from fusion_core.metrics.reference import REFERENCE_METRICS

Gray = NDArray[np.uint8]
Triple = tuple[Gray, Gray, Gray]

TOLERANCES = {"FMI_w": 1e-9}
"""Against the loops, 1e-12 elsewhere. Striped images leave nothing but filter tails in FMI_w."""
TENSOR_TOLERANCES = {"FMI_dct": 1e-6, "FMI_w": 1e-6}
"""Of the code for GPUs, likewise; the largest deviation measured is 1.5e-7 (float32 windows)."""


def noise(height: int, width: int, seed: int, low: int = 0, high: int = 256) -> Gray:
    return np.random.default_rng(seed).integers(low, high, (height, width), dtype=np.uint8)


def random_triple(height: int, width: int) -> Triple:
    return noise(height, width, 1), noise(height, width, 2), noise(height, width, 3)


def scene() -> Triple:
    ir, vis = synthetic_pair(23, 31, seed=5, colour=False)
    return ir, vis, ((ir.astype(int) + vis) // 2).astype(np.uint8)


def saturated() -> Triple:
    ir, vis, fused = (noise(14, 19, seed, 0, 2) * np.uint8(255) for seed in (1, 2, 3))
    return ir, vis, fused


def flat(height: int, width: int, level: int) -> Gray:
    return np.full((height, width), level, dtype=np.uint8)


def identical() -> Triple:
    image = noise(13, 11, 4)
    return image, image, image


def half_flat() -> Triple:
    ir, vis = noise(18, 20, 1), noise(18, 20, 2)
    ir[:9], vis[:, :10] = 77, 200
    return ir, vis, ((ir.astype(int) + vis) // 2).astype(np.uint8)


def stripes(height: int, width: int, seed: int) -> Gray:
    return np.repeat(noise(1, width, seed), height, axis=0)


def step(level: int) -> Gray:
    """Return an edge whose strength is exactly the cutoff of the edge map."""
    image = flat(8, 8, 0)
    image[:, 4:] = level
    return image


def three_scales(height: int, width: int) -> Triple:
    ir, vis = synthetic_pair(height, width, seed=8, colour=False)
    fused = (ir.astype(int) + vis) // 2 + noise(height, width, 3, 0, 9)
    return ir, vis, np.clip(fused, 0, 255).astype(np.uint8)


def saturated_scene(height: int, width: int) -> Triple:
    ir, vis, fused = three_scales(height, width)
    ir[:25, :30], vis[:20, 10:], fused[:22, 5:35] = 255, 0, 255
    return ir, vis, fused


def mirrored_contrast() -> Triple:
    """Return sources whose sum is flat."""
    ir = noise(41, 43, 1)
    return ir, 255 - ir, noise(41, 43, 2)


CASES: dict[str, Callable[[], Triple]] = {
    "random": lambda: random_triple(16, 16),
    "odd-sized": lambda: random_triple(17, 29),
    "scene": scene,
    "few-levels": lambda: (
        noise(20, 15, 1, 7, 11),
        noise(20, 15, 2, 7, 11),
        noise(20, 15, 3, 7, 9),
    ),
    "saturated": saturated,
    "fused-at-both-ends": lambda: (
        noise(14, 19, 1, 10, 13),
        noise(14, 19, 2, 10, 13),
        noise(14, 19, 3, 0, 2) * np.uint8(255),
    ),
    "black-and-white": lambda: (flat(9, 9, 0), flat(9, 9, 255), noise(9, 9, 1)),
    "flat-fused": lambda: (noise(12, 13, 1), noise(12, 13, 2), flat(12, 13, 90)),
    "flat-infrared": lambda: (flat(12, 13, 90), noise(12, 13, 2), noise(12, 13, 3)),
    "all-flat": lambda: (flat(7, 8, 3), flat(7, 8, 4), flat(7, 8, 5)),
    "1x1": lambda: random_triple(1, 1),
    "1x9": lambda: random_triple(1, 9),
    "2x3": lambda: random_triple(2, 3),
    "5x5": lambda: random_triple(5, 5),
    "identical": identical,
    "fused-is-infrared": lambda: (noise(10, 12, 1), noise(10, 12, 2), noise(10, 12, 1)),
    "fused-is-visible": lambda: (noise(10, 12, 1), noise(10, 12, 2), noise(10, 12, 2)),
    "fused-is-shifted-visible": lambda: (
        noise(10, 12, 1),
        noise(10, 12, 2, 0, 200),
        noise(10, 12, 2, 0, 200) + np.uint8(20),
    ),
    "half-flat": half_flat,
    "stripes": lambda: (stripes(12, 15, 1), stripes(12, 15, 2), stripes(12, 15, 3)),
    "step-in-width-of-eight": lambda: (step(9), step(40), step(200)),
    "three-scales": lambda: three_scales(43, 46),
    "three-scales-saturated": lambda: saturated_scene(42, 41),
    "three-scales-all-flat": lambda: (flat(41, 42, 3), flat(41, 42, 90), flat(41, 42, 5)),
    "three-scales-mirrored": mirrored_contrast,
    "three-scales-opposed": lambda: (noise(41, 41, 1), noise(41, 41, 1), 255 - noise(41, 41, 1)),
    "one-pixel-short-of-three-scales": lambda: random_triple(40, 44),
}


@pytest.fixture(params=["kernels", "tensors"])
def tolerances(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Compute with the compiled kernels, and with what runs on other devices."""
    if request.param == "kernels":
        return TOLERANCES
    monkeypatch.setattr(dispatch, "use_kernels", lambda images: False)
    monkeypatch.setattr(edges, "_square_root", lambda x: torch.from_numpy(np.sqrt(x.numpy())))
    return TENSOR_TOLERANCES


def compute(metric: str, *triples: Triple) -> list[float]:
    """Compute a metric of a batch of pairs."""
    stacks = [
        torch.from_numpy(np.stack(images)).unsqueeze(1) for images in zip(*triples, strict=True)
    ]
    values: list[float] = METRICS[metric].compute(*stacks).tolist()
    return values


@functools.cache
def expect(metric: str, case: str) -> float:
    return REFERENCES[metric](*CASES[case]())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("metric", REFERENCES)
def test_metric_equals_the_loops_of_its_definition(
    metric: str, case: str, tolerances: dict[str, float]
) -> None:
    expected = pytest.approx(
        [expect(metric, case)], rel=0, abs=tolerances.get(metric, 1e-12), nan_ok=True
    )
    assert compute(metric, CASES[case]()) == expected


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("metric", REFERENCES)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_numpy_baseline_equals_the_loops_of_its_definition(metric: str, case: str) -> None:
    expected = pytest.approx(
        expect(metric, case), rel=0, abs=TOLERANCES.get(metric, 1e-12), nan_ok=True
    )
    assert REFERENCE_METRICS[metric](*CASES[case]()) == expected


def test_every_metric_has_an_independent_reference() -> None:
    assert list(REFERENCES) == list(METRICS) == list(REFERENCE_METRICS)


@pytest.mark.parametrize("metric", METRICS)
def test_metric_of_a_batch_equals_the_metric_of_each_pair(metric: str) -> None:
    triples = [
        random_triple(12, 13),
        CASES["flat-fused"](),
        CASES["flat-infrared"](),
        (noise(12, 13, 8, 0, 3), noise(12, 13, 9), noise(12, 13, 7)),
    ]
    single = [compute(metric, triple)[0] for triple in triples]
    assert compute(metric, *triples) == pytest.approx(single, rel=0, abs=1e-13, nan_ok=True)


@pytest.mark.parametrize("metric", METRICS)
def test_metric_returns_one_double_a_pair(metric: str) -> None:
    images = [torch.from_numpy(image).expand(3, 1, 6, 7) for image in random_triple(6, 7)]
    values = METRICS[metric].compute(*images)
    assert (values.dtype, values.shape) == (torch.float64, (3,))


@pytest.mark.parametrize("metric", METRICS)
def test_metric_leaves_its_inputs_alone(metric: str) -> None:
    images = [torch.from_numpy(image)[None, None] for image in random_triple(6, 7)]
    copies = [image.clone() for image in images]
    METRICS[metric].compute(*images)
    assert all(map(torch.equal, images, copies))


@pytest.mark.parametrize("metric", METRICS)
def test_metric_of_a_view_with_strides_equals_that_of_a_copy(metric: str) -> None:
    images = [torch.from_numpy(image.T)[None, None] for image in random_triple(42, 43)]
    copies = [image.contiguous() for image in images]
    assert torch.equal(METRICS[metric].compute(*images), METRICS[metric].compute(*copies))


@pytest.mark.parametrize("metric", METRICS)
def test_metric_treats_both_sources_alike(metric: str) -> None:
    ir, vis, fused = three_scales(42, 51)
    assert compute(metric, (ir, vis, fused)) == pytest.approx(
        compute(metric, (vis, ir, fused)), rel=0, abs=1e-13
    )


def test_entropy_of_all_gray_levels_is_eight_bits() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert compute("EN", (levels, levels, levels)) == pytest.approx([8.0], abs=1e-14)


def test_entropy_of_a_flat_image_is_zero_and_not_minus_zero() -> None:
    (value,) = compute("EN", CASES["all-flat"]())
    assert (value, math.copysign(1, value)) == (0.0, 1.0)


def test_mutual_information_of_independent_gray_levels_is_zero() -> None:
    rows = np.repeat(np.arange(16, dtype=np.uint8), 16).reshape(16, 16)
    assert compute("MI", (rows, rows, rows.T)) == pytest.approx([0.0], abs=1e-13)


def test_mutual_information_of_relabelled_sources_is_twice_the_entropy() -> None:
    fused = noise(15, 14, 6, 0, 40)
    value = compute("MI", (255 - fused, fused * np.uint8(5), fused))
    assert value == pytest.approx(compute("MI_as_published", (fused, fused, fused)), abs=1e-12)


def test_scd_of_the_sum_of_the_sources_is_two() -> None:
    ir, vis = noise(12, 13, 1, 0, 120), noise(12, 13, 2, 0, 120)
    assert compute("SCD", (ir, vis, ir + vis)) == pytest.approx([2.0], abs=1e-13)


def test_ssim_of_three_equal_images_is_one() -> None:
    assert compute("SSIM_a", identical()) == pytest.approx([1.0], abs=1e-13)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_metric_refuses_images_that_are_not_uint8(metric: str, position: int) -> None:
    images = [torch.zeros(1, 1, 4, 4, dtype=torch.uint8) for _ in range(3)]
    images[position] = images[position].float()
    with pytest.raises(InvalidValueError, match=r"dtype uint8, but got torch\.float32"):
        METRICS[metric].compute(*images)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (1, 3, 4, 4)])
def test_metric_refuses_images_of_another_layout(metric: str, shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(InvalidValueError, match=r"shape \(B, 1, H, W\), but got"):
        METRICS[metric].compute(image, image, image)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_metric_refuses_images_of_different_sizes(metric: str, position: int) -> None:
    images = [torch.zeros(1, 1, 4, 4, dtype=torch.uint8) for _ in range(3)]
    images[position] = torch.zeros(1, 1, 4, 5, dtype=torch.uint8)
    with pytest.raises(InvalidValueError, match="of one shape"):
        METRICS[metric].compute(*images)


def test_registry_lists_each_metric_under_its_own_name() -> None:
    assert [metric.name for metric in METRICS.values()] == list_metrics() == list(METRICS)


def test_selected_metrics_come_once_each_and_in_column_order() -> None:
    assert select_metrics(["SSIM_a", "EN", "SSIM_a"]) == ["EN", "SSIM_a"]


def test_unknown_metric_is_refused_with_the_list_of_metrics() -> None:
    with pytest.raises(InvalidValueError, match=r"Unknown metric 'PSNR'.*EN, MI, .*SSIM_a"):
        select_metrics(["EN", "PSNR"])
