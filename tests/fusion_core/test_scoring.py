from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from support.reference_metrics import REFERENCES

from fusion_core.errors import InvalidValueError
from fusion_core.metrics import METRICS, list_metrics
from fusion_core.scoring import Scores, score_images

Pixels = NDArray[np.uint8]


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def flat(level: int) -> Pixels:
    return np.full((8, 9), level, dtype=np.uint8)


def score_one(ir: Pixels, vis: Pixels, fused: Pixels) -> Scores:
    return score_images([ir], [vis], [fused], list_metrics())[0]


UNDEFINED_SCD = {
    "flat infrared": (flat(7), noise(1, 8, 9), noise(2, 8, 9)),
    "flat visible": (noise(1, 8, 9), flat(7), noise(2, 8, 9)),
    "fused is infrared": (noise(1, 8, 9), noise(2, 8, 9), noise(1, 8, 9)),
    "fused is visible": (noise(1, 8, 9), noise(2, 8, 9), noise(2, 8, 9)),
    "fused is brighter visible": (
        noise(1, 8, 9),
        noise(2, 8, 9) // np.uint8(2),
        noise(2, 8, 9) // np.uint8(2) + np.uint8(50),
    ),
    "one pixel": (noise(1, 1, 1), noise(2, 1, 1), noise(3, 1, 1)),
}


@pytest.mark.parametrize("case", UNDEFINED_SCD)
def test_undefined_scd_is_none_with_a_reason(case: str) -> None:
    scores = score_one(*UNDEFINED_SCD[case])
    assert (scores.values["SCD"], scores.notes) == (
        None,
        "SCD is undefined: a source, or its difference from the fused image, is flat",
    )


@pytest.mark.parametrize("case", UNDEFINED_SCD)
def test_other_metrics_keep_their_values_beside_an_undefined_one(case: str) -> None:
    scores = score_one(*UNDEFINED_SCD[case])
    expected = {name: REFERENCES[name](*UNDEFINED_SCD[case]) for name in METRICS if name != "SCD"}
    found = {name: value for name, value in scores.values.items() if name != "SCD"}
    assert found == pytest.approx(expected, rel=0, abs=1e-12)


def test_scores_are_plain_json_without_nan_even_for_flat_images() -> None:
    scores = score_one(flat(0), flat(0), flat(0))
    assert json.loads(json.dumps(scores.values, allow_nan=False)) == {
        "EN": 0.0,
        "MI": 0.0,
        "MI_as_published": 0.0,
        "SCD": None,
        "SSIM_a": pytest.approx(1.0, abs=1e-13),
    }


def test_defined_scores_carry_no_notes() -> None:
    assert score_one(noise(1, 8, 9), noise(2, 8, 9), noise(3, 8, 9)).notes is None


def test_every_metric_without_a_value_for_some_pair_says_when() -> None:
    without_reason = [name for name, metric in METRICS.items() if not metric.undefined]
    assert all(
        score_one(*images).values[name] is not None
        for images in (*UNDEFINED_SCD.values(), (flat(0), flat(255), flat(9)))
        for name in without_reason
    )


def test_undefined_score_of_one_pair_leaves_its_batch_mates_alone() -> None:
    good = (noise(1, 8, 9), noise(2, 8, 9), noise(3, 8, 9))
    pairs = [UNDEFINED_SCD["flat visible"], good, UNDEFINED_SCD["fused is infrared"]]
    ir, vis, fused = (list(images) for images in zip(*pairs, strict=True))
    scores = score_images(ir, vis, fused, ["SCD"])
    assert [score.values["SCD"] is None for score in scores] == [True, False, True]
    assert [score.notes is None for score in scores] == [False, True, False]


def test_scd_of_a_flat_source_is_undefined_at_every_gray_level() -> None:
    flat_sources = [np.full((13, 17), level, dtype=np.uint8) for level in range(256)]
    other, fused = [noise(1, 13, 17)] * 256, [noise(2, 13, 17)] * 256
    scores = score_images(flat_sources, other, fused, ["SCD"])
    assert {score.values["SCD"] for score in scores} == {None}


Shapes = list[tuple[int, ...]]

UNEQUAL: dict[str, tuple[Shapes, Shapes, Shapes]] = {
    "no pair": ([], [], []),
    "one fused image more": ([(4, 4)], [(4, 4)], [(4, 4), (4, 4)]),
    "one visible image less": ([(4, 4), (4, 4)], [(4, 4)], [(4, 4), (4, 4)]),
    "fused image of another size": ([(4, 4)], [(4, 4)], [(4, 5)]),
    "pairs of two sizes": ([(4, 4), (4, 5)], [(4, 4), (4, 5)], [(4, 4), (4, 5)]),
}


@pytest.mark.parametrize("case", UNEQUAL)
def test_pairs_that_are_not_of_one_size_are_refused(case: str) -> None:
    ir, vis, fused = (
        [np.zeros(shape, dtype=np.uint8) for shape in shapes] for shapes in UNEQUAL[case]
    )
    with pytest.raises(InvalidValueError, match="Expected as many infrared"):
        score_images(ir, vis, fused, ["EN"])


def test_batch_scores_come_in_the_order_of_the_pairs() -> None:
    pairs = [(noise(i, 8, 9), noise(i + 9, 8, 9), noise(i + 99, 8, 9) % (i + 2)) for i in range(4)]
    ir, vis, fused = (list(images) for images in zip(*pairs, strict=True))
    batch = [score.values["EN"] for score in score_images(ir, vis, fused, ["EN"])]
    assert batch == pytest.approx([REFERENCES["EN"](*pair) for pair in pairs], abs=1e-12)


def test_scores_hold_the_requested_metrics_in_the_requested_order() -> None:
    image = noise(1, 8, 9)
    scores = score_images([image], [image], [image], ["SSIM_a", "EN"])[0]
    assert list(scores.values) == ["SSIM_a", "EN"]


def test_colour_images_are_scored_on_their_luma() -> None:
    colour = [noise(seed, 8, 9, 3) for seed in (1, 2, 3)]
    exact = [image.astype(int) @ np.array([299, 587, 114]) for image in colour]
    gray = [((total + 500) // 1000).astype(np.uint8) for total in exact]
    assert score_one(*colour) == score_one(*gray)


def test_gray_and_colour_pairs_of_one_size_share_a_batch() -> None:
    gray = noise(1, 8, 9)
    colour = np.repeat(gray[..., None], 3, axis=2)
    scores = score_images([gray, gray], [gray, colour], [colour, gray], ["EN", "SSIM_a"])
    assert scores[0] == scores[1]
