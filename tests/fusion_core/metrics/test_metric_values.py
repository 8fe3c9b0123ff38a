from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.reference_metrics import REFERENCES

from fusion_core.compiled import dispatch
from fusion_core.errors import InvalidValueError
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import METRICS, list_metrics
from fusion_core.metrics.base import ScoredBatch, Sources
from fusion_core.metrics.scoring import score_batch

Gray = NDArray[np.uint8]
Triple = tuple[Gray, Gray, Gray]

TOLERANCES = {"FMI_dct": 1e-6, "FMI_w": 1e-6}
"""Against the loops, 1e-12 elsewhere; windows of float32 were measured to be off by 1.5e-7."""
ORDERED = ("VIFF", "Qc_mefb")
"""Metrics whose definition depends on the order of A and B."""


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

SLOW = [("FMI_w", case) for case in CASES if "three-scales" in case]
"""The loops over these windows take 10 s; the images are large for the sake of MS_SSIM."""


def round_correctly(values: torch.Tensor) -> torch.Tensor:
    """Take square roots as CUDA does; PyTorch's CPU code is off by an ulp, which undoes ties."""
    return torch.from_numpy(np.sqrt(values.numpy()))


@pytest.fixture(params=["kernels", "tensors"])
def _code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute with the compiled kernels, and with what runs on other devices."""
    if request.param == "tensors":
        monkeypatch.setattr(dispatch, "use_kernels", lambda images: False)
        monkeypatch.setattr(torch.Tensor, "sqrt", round_correctly)


def stack(*triples: Triple) -> list[torch.Tensor]:
    """Make a batch of pairs: A, B and F as `(B, 1, H, W)`."""
    return [
        torch.from_numpy(np.stack(images)).unsqueeze(1) for images in zip(*triples, strict=True)
    ]


def scored(ir: torch.Tensor, vis: torch.Tensor, fused: torch.Tensor) -> ScoredBatch:
    return ScoredBatch(Sources(ir, vis), fused)


def compute(metric: str, *triples: Triple) -> list[float]:
    """Compute a metric of a batch of pairs."""
    values: list[float] = METRICS[metric](*stack(*triples)).tolist()
    return values


def compute_all(*triples: Triple) -> torch.Tensor:
    """Compute all metrics of a batch of pairs: `(M, B)`."""
    return score_batch(scored(*stack(*triples)), list(METRICS))


@functools.cache
def expect(metric: str, case: str) -> float:
    return REFERENCES[metric](*CASES[case]())


def assert_equal(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance, equal_nan=True)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare values of any size."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13, equal_nan=True)


def find_misses(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Compare metrics of cases with their loops, and describe those that are off."""
    computed = {
        case: dict(zip(METRICS, compute_all(make())[:, 0].tolist(), strict=True))
        for case, make in CASES.items()
    }
    return [
        f"{metric} of {case}: {computed[case][metric]} instead of {expect(metric, case)}"
        for metric, case in pairs
        if computed[case][metric]
        != pytest.approx(
            expect(metric, case), rel=0, abs=TOLERANCES.get(metric, 1e-12), nan_ok=True
        )
    ]


@pytest.mark.usefixtures("_code")
def test_metrics_equal_the_loops_of_their_definitions() -> None:
    pairs = itertools.product(REFERENCES, CASES)
    assert find_misses(pair for pair in pairs if pair not in SLOW) == []


@pytest.mark.slow
@pytest.mark.usefixtures("_code")
def test_metrics_equal_their_slowest_loops() -> None:
    assert find_misses(SLOW) == []


def test_metrics_of_a_batch_equal_the_metrics_of_each_pair() -> None:
    triples = [
        random_triple(12, 13),
        CASES["flat-fused"](),
        CASES["flat-infrared"](),
        (noise(12, 13, 8, 0, 3), noise(12, 13, 9), noise(12, 13, 7)),
    ]
    single = torch.cat([compute_all(triple) for triple in triples], dim=1)
    assert_close(compute_all(*triples), single)


def test_each_metric_alone_equals_itself_among_all_metrics() -> None:
    triples = [three_scales(42, 51), saturated_scene(42, 51)]
    alone = torch.stack([metric(*stack(*triples)) for metric in METRICS.values()])
    assert_equal(alone, compute_all(*triples), 0.0)


def test_metrics_return_one_double_per_pair() -> None:
    images = [torch.from_numpy(image).expand(3, 1, 6, 7) for image in random_triple(6, 7)]
    found = [metric(*images) for metric in METRICS.values()]
    assert {(values.dtype, values.shape) for values in found} == {(torch.float64, (3,))}


def test_metrics_of_single_arrays_and_tensors_are_scalars_equal_to_those_of_a_batch() -> None:
    arrays = three_scales(42, 43)
    for image in arrays:
        image.flags.writeable = False  # as arrays made from files are
    of_arrays = [metric(*arrays) for metric in METRICS.values()]
    of_tensors = [metric(*(image[0, 0] for image in stack(arrays))) for metric in METRICS.values()]
    assert {values.shape for values in of_arrays} == {()}
    assert_equal(torch.stack(of_arrays), compute_all(arrays)[:, 0], 0.0)
    assert_equal(torch.stack(of_tensors), compute_all(arrays)[:, 0], 0.0)


def test_metrics_leave_their_inputs_alone() -> None:
    images = stack(random_triple(42, 43))
    copies = [image.clone() for image in images]
    for metric in METRICS.values():
        metric(*images)
    assert all(map(torch.equal, images, copies))


def test_metrics_of_a_view_with_strides_equal_those_of_a_copy() -> None:
    images = [torch.from_numpy(image.T)[None, None] for image in random_triple(42, 43)]
    copies = [image.contiguous() for image in images]
    views, contiguous = (score_batch(scored(*stacks), list(METRICS)) for stacks in (images, copies))
    assert_equal(views, contiguous, 0.0)


def test_metrics_treat_both_sources_alike() -> None:
    ir, vis, fused = three_scales(42, 51)
    alike = torch.tensor([name not in ORDERED for name in METRICS])
    first, second = compute_all((ir, vis, fused)), compute_all((vis, ir, fused))
    assert_close(first[alike], second[alike])


@pytest.mark.parametrize("name", ORDERED)
def test_metrics_that_prefer_a_source_depend_on_the_order(name: str) -> None:
    ir, vis, fused = three_scales(42, 51)
    fused = 255 - fused  # opposes its sources, so that gains are equal
    assert compute(name, (ir, vis, fused)) != compute(name, (vis, ir, fused))


def test_what_metrics_share_is_computed_once_per_batch() -> None:
    calls: list[ScoredBatch] = []

    def mean(batch: ScoredBatch) -> float:
        calls.append(batch)
        return batch.unit.mean().item()

    first, second = (scored(*stack(random_triple(4, 5))) for _ in range(2))
    values = {batch.cached(mean) for batch in (first, first, second, first)}
    assert (calls, len(values)) == ([first, second], 1)


def test_metrics_state_what_a_reader_of_their_column_must_know() -> None:
    assert [
        name
        for name, m in METRICS.items()
        if not (m.title and m.range and m.unit and m.paper.citation)
        or not m.paper.link.startswith("https://")
    ] == []


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


@pytest.mark.parametrize("position", [0, 1, 2])
def test_images_that_are_not_uint8_are_refused(position: int) -> None:
    images = [torch.zeros(1, 1, 4, 4, dtype=torch.uint8) for _ in range(3)]
    images[position] = images[position].float()
    with pytest.raises(InvalidValueError, match=r"dtype uint8, but got torch\.float32"):
        scored(*images)


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4), (1, 3, 4, 4), (1, 1, 1, 4, 4)])
def test_images_of_another_layout_are_refused(shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(InvalidValueError, match=r"shape \(H, W\) or \(B, 1, H, W\), but got"):
        scored(image, image, image)


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (3, 1, 4, 4), (4, 4)])
def test_images_of_different_shapes_are_refused(position: int, shape: tuple[int, ...]) -> None:
    images = [torch.zeros(2, 1, 4, 4, dtype=torch.uint8) for _ in range(3)]
    images[position] = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(InvalidValueError, match="of one shape"):
        scored(*images)


@pytest.mark.parametrize("shape", [(0, 4), (0, 1, 4, 4), (1, 1, 4, 0)])
def test_empty_images_are_refused(shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, dtype=np.uint8)
    with pytest.raises(InvalidValueError, match="at least one pair of at least one pixel"):
        scored(*(torch.from_numpy(image) for _ in range(3)))


def test_metrics_check_their_images() -> None:
    images = [np.zeros((4, 4)) for _ in range(3)]
    for metric in METRICS.values():
        with pytest.raises(InvalidValueError, match=r"dtype uint8, but got torch\.float64"):
            metric(*images)  # type: ignore[arg-type]


def test_registry_lists_each_metric_under_its_own_name() -> None:
    assert [metric.name for metric in METRICS.values()] == list_metrics() == list(METRICS)
