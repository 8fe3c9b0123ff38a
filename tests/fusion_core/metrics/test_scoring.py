from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from support.reference_metrics import REFERENCES

from fusion_core.errors import InvalidValueError
from fusion_core.metrics import METRICS, list_metrics, select_metrics
from fusion_core.metrics.scoring import Scores, prepare_metrics, score_images

Pixels = NDArray[np.uint8]
Triple = tuple[Pixels, Pixels, Pixels]

SIZE = (42, 43)
"""Large enough for every metric."""


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def flat(level: int, size: tuple[int, int] = SIZE) -> Pixels:
    return np.full(size, level, dtype=np.uint8)


def dots() -> Pixels:
    """Return an image that is not flat, and whose Sobel gradient is zero everywhere."""
    image = np.zeros((43, 45), dtype=np.uint8)
    image[::2, ::2] = 200
    return image


def fuse(ir: Pixels, vis: Pixels) -> Triple:
    return ir, vis, ((ir.astype(int) + vis) // 2).astype(np.uint8)


def score_one(ir: Pixels, vis: Pixels, fused: Pixels) -> Scores:
    return score_images([ir], [vis], [fused], list_metrics())[0]


def score_triples(triples: Sequence[Triple], metrics: Sequence[str]) -> list[Scores]:
    ir, vis, fused = (list(images) for images in zip(*triples, strict=True))
    return score_images(ir, vis, fused, metrics)


def limits(metric: str) -> tuple[float, float]:
    """Return a metric's stated range, wider by what rounding, or the word about, allows."""
    low, high = map(float, METRICS[metric].range.removeprefix("about ").split(".."))
    slack = 0.05 if METRICS[metric].range.startswith("about") else SLACK.get(metric, 1e-12)
    return low - slack, high + slack


def missing(scores: Scores) -> set[str]:
    return {name for name, value in scores.values.items() if value is None}


def numbers(scores: Scores) -> list[float]:
    return [math.nan if value is None else value for value in scores.values.values()]


def triple(*size: int) -> Triple:
    return noise(1, *size), noise(2, *size), noise(3, *size)


SLACK = {"SSIM_tang": 1e-8, "SSIM_zoo": 1e-8}
"""Beyond the range. Constants for images in 0..1 hardly exceed the rounding of flat windows."""
FMI = ("FMI_pixel", "FMI_dct", "FMI_w")
SMALL = (*FMI, "MS_SSIM")
QUICK = tuple(name for name in REFERENCES if name not in ("FMI_w", "FMI_dct", "SSIM_a"))
"""Metrics whose loops are quick."""
NOTES = {name: f"{name} is undefined: {m.undefined}" for name, m in METRICS.items() if m.undefined}

UNDEFINED: dict[str, tuple[tuple[str, ...], Triple]] = {
    "flat infrared": (("SCD",), fuse(flat(7), noise(1, *SIZE))),
    "flat visible": (("SCD",), fuse(noise(1, *SIZE), flat(7))),
    "fused is infrared": (("SCD",), (noise(1, *SIZE), noise(2, *SIZE), noise(1, *SIZE))),
    "fused is visible": (("SCD",), (noise(1, *SIZE), noise(2, *SIZE), noise(2, *SIZE))),
    "fused is brighter visible": (
        ("SCD",),
        (
            noise(1, *SIZE),
            noise(2, *SIZE) // np.uint8(2),
            noise(2, *SIZE) // np.uint8(2) + np.uint8(50),
        ),
    ),
    "sources without an edge": (("Qabf",), (dots(), dots() // np.uint8(2), noise(3, 43, 45))),
    "black infrared": (("SCD", "EPI_a"), fuse(flat(0), noise(1, *SIZE))),
    "black fused": (("EPI_a",), (noise(1, *SIZE), noise(2, *SIZE), flat(0))),
    "fused opposes its sources": (
        ("MS_SSIM",),
        (noise(1, *SIZE), noise(1, *SIZE), 255 - noise(1, *SIZE)),
    ),
    "one pixel too low for three scales": (("MS_SSIM",), triple(40, 43)),
    "one pixel too narrow for three scales": (("MS_SSIM",), triple(43, 40)),
    "two rows": (SMALL, triple(2, 45)),
    "two columns": (SMALL, triple(45, 2)),
    "one row": ((*FMI, "Nabf", "MS_SSIM"), triple(1, 45)),
    "one column": ((*FMI, "Nabf", "MS_SSIM"), triple(45, 1)),
    "one pixel": (("Qabf", *FMI, "Nabf", "SCD", "MS_SSIM", "EPI_a"), triple(1, 1)),
    "all black": (("Qabf", "SCD", "EPI_a"), (flat(0), flat(0), flat(0))),
}


@pytest.mark.parametrize("case", UNDEFINED)
def test_undefined_metrics_and_no_others_are_none_with_a_note(case: str) -> None:
    undefined, images = UNDEFINED[case]
    scores = score_one(*images)
    assert missing(scores) & set(REFERENCES) == set(undefined)
    assert scores.notes == "; ".join(NOTES[n] for n in scores.values if n in missing(scores))


def test_other_metrics_keep_their_values_beside_undefined_ones() -> None:
    for case, (_, images) in UNDEFINED.items():
        values = score_one(*images).values
        found = {name: value for name, value in values.items() if value is not None}
        alone = {name: METRICS[name](*images).item() for name in found}
        assert found == alone, case
        expected = {name: REFERENCES[name](*images) for name in QUICK if name in found}
        assert {n: found[n] for n in expected} == pytest.approx(expected, rel=0, abs=1e-12), case


def test_the_note_of_a_flat_source_reads_like_this() -> None:
    (scores,) = score_triples([UNDEFINED["flat infrared"][1]], ["EN", "SCD"])
    assert scores.notes == (
        "SCD is undefined: a source, or its difference from the fused image, is flat"
    )


def test_every_metric_that_can_be_undefined_is_made_so() -> None:
    made = set().union(*(missing(score_one(*images)) for _, images in UNDEFINED.values()))
    assert made == set(NOTES)


def test_scores_are_plain_json_without_nan_even_for_black_images() -> None:
    scores = score_one(flat(0), flat(0), flat(0))
    found = json.loads(json.dumps(scores.values, allow_nan=False))
    expected = {
        "EN": 0.0,
        "MI": 0.0,
        "MI_as_published": 0.0,
        "Qabf": None,
        "FMI_pixel": 1.0,
        "FMI_dct": 1.0,
        "FMI_w": 1.0,
        "Nabf": 0.0,
        "SCD": None,
        "SSIM_a": pytest.approx(1.0, abs=1e-13),
        "MS_SSIM": pytest.approx(1.0, abs=1e-13),
        "EPI_a": None,
    }
    assert {name: found[name] for name in expected} == expected
    assert list(found) == list_metrics()


CONTENTS: dict[str, Callable[[tuple[int, int]], Triple]] = {
    "noise": lambda size: triple(*size),
    "flat": lambda size: (flat(3, size), flat(90, size), flat(41, size)),
    "black": lambda size: (flat(0, size),) * 3,
    "white": lambda size: (flat(255, size),) * 3,
    "black and white": lambda size: (flat(0, size), flat(255, size), flat(255, size)),
    "identical": lambda size: (noise(1, *size),) * 3,
    "fused is infrared": lambda size: (noise(1, *size), noise(2, *size), noise(1, *size)),
    "fused is visible": lambda size: (noise(1, *size), noise(2, *size), noise(2, *size)),
    "opposed": lambda size: (noise(1, *size), noise(1, *size), 255 - noise(1, *size)),
    "flat sources": lambda size: (flat(3, size), flat(90, size), noise(3, *size)),
    "flat fused": lambda size: (noise(1, *size), noise(2, *size), flat(90, size)),
}
SIZES = [
    (1, 1), (1, 2), (1, 9), (9, 1), (2, 2), (2, 9), (3, 3), (10, 10), (40, 41), (41, 40), (41, 41),
]  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
def test_scores_of_odd_images_are_numbers_in_their_range_or_none_with_a_reason(
    content: str,
) -> None:
    for size in SIZES:
        scores = score_one(*CONTENTS[content](size))
        reasons = [NOTES[name] for name in scores.values if name in missing(scores)]
        assert scores.notes == ("; ".join(reasons) or None), size
        for name, value in scores.values.items():
            low, high = limits(name)
            assert value is None or low <= value <= high, (size, name, value)


def test_defined_scores_carry_no_notes() -> None:
    (scores,) = score_triples([triple(161, 162)], select_metrics(["all"]))
    assert scores.notes is None


def test_small_images_note_metrics_only_where_they_were_asked_for() -> None:
    ir, vis, fused = triple(8, 9)
    assert score_images([ir], [vis], [fused], ["EN", "Qabf", "SCD"])[0].notes is None


def batch() -> list[Triple]:
    cases = ("flat visible", "fused is infrared", "black fused", "fused opposes its sources")
    return [
        triple(*SIZE),
        *(UNDEFINED[case][1] for case in cases),
        fuse(noise(4, *SIZE), noise(5, *SIZE)),
    ]


def test_scores_of_a_batch_are_those_of_each_pair_alone() -> None:
    together = score_triples(batch(), list_metrics())
    alone = [score_one(*images) for images in batch()]
    for found, expected in zip(together, alone, strict=True):
        assert numbers(found) == pytest.approx(numbers(expected), rel=1e-12, abs=1e-13, nan_ok=True)


def test_undefined_scores_of_one_pair_leave_its_batch_mates_alone() -> None:
    found = [missing(scores) & set(REFERENCES) for scores in score_triples(batch(), list_metrics())]
    assert found == [set(), {"SCD"}, {"SCD"}, {"EPI_a"}, {"MS_SSIM"}, set()]


def test_scd_of_a_flat_source_is_undefined_at_every_gray_level() -> None:
    flat_sources = [flat(level, (13, 17)) for level in range(256)]
    other, fused = [noise(1, 13, 17)] * 256, [noise(2, 13, 17)] * 256
    scores = score_images(flat_sources, other, fused, ["SCD"])
    assert {score.values["SCD"] for score in scores} == {None}


def test_any_metrics_can_be_prepared() -> None:
    subsets = [[name] for name in METRICS]
    for metrics in ([], *subsets, ["EPI_a", "EN"], ["FMI_w", "FMI_dct"], list(METRICS)):
        prepare_metrics(metrics)
        (scores,) = score_triples([triple(*SIZE)], metrics)
        assert list(scores.values) == metrics


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
    found = [scores.values["EN"] for scores in score_triples(pairs, ["EN"])]
    assert found == pytest.approx([REFERENCES["EN"](*pair) for pair in pairs], abs=1e-12)


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
