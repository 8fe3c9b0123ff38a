"""What the metrics of colour images are computed of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fusion_core import score
from fusion_core.errors import InvalidValueError
from fusion_core.metrics import METRICS, PRESETS, select_channels
from fusion_core.metrics.scoring import score_images

Pixels = NDArray[np.uint8]


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


IR, VIS, FUSED = noise(1, 12, 17), noise(2, 12, 17, 3), noise(3, 12, 17, 3)


def test_metrics_are_computed_of_the_luma_by_default() -> None:
    assert score(IR, VIS, FUSED) == score(IR, VIS, FUSED, score_colour="luma")
    assert select_channels(["EN", "vifb"], "luma") == {}


def test_per_channel_gives_the_mean_with_gray_images_for_every_channel() -> None:
    names = ["EN", "MI", "Qabf", "Qcv"]
    found = score(IR, VIS, FUSED, metrics=names, score_colour="per_channel")
    single = [score(IR, VIS[..., c], FUSED[..., c], metrics=names) for c in range(3)]
    for name in names:
        assert found[name] == pytest.approx(np.mean([values[name] for values in single]), rel=1e-12)


def test_gray_images_have_the_same_scores_however_colour_is_treated() -> None:
    gray = IR, VIS[..., 0], FUSED[..., 0]
    expected = score(*gray, metrics=["vifb"])
    for colour in ("per_channel", "as_toolkit"):
        assert score(*gray, metrics=["vifb"], score_colour=colour) == expected


def test_a_metric_is_undefined_where_it_is_undefined_in_a_channel() -> None:
    flat = VIS.copy()
    flat[..., 1] = 7
    assert score(IR, flat, FUSED, metrics=["CC"], score_colour="per_channel") == {"CC": None}
    assert score(IR, flat, FUSED, metrics=["CC"])["CC"] is not None


def test_vifb_computes_sf_of_the_channels_side_by_side_and_the_rest_per_channel() -> None:
    found = score(IR, VIS, FUSED, metrics=["vifb"], score_colour="as_toolkit")
    wide = [np.hstack([image[..., c] for c in range(3)]) for image in (VIS, FUSED)]
    side = score(np.hstack([IR] * 3), *wide, metrics=["SF_vifb"])
    assert found["SF_vifb"] == side["SF_vifb"]
    channels = score(IR, VIS, FUSED, metrics=["vifb"], score_colour="per_channel")
    assert {n for n in found if found[n] != channels[n]} == {"SF_vifb"}


def test_mefb_computes_mef_ssim_of_the_luma() -> None:
    assert set(PRESETS["mefb"].columns) - set(select_channels(["mefb"], "as_toolkit")) == {
        "MS_SSIM"
    }


def test_programs_that_score_the_luma_leave_everything_as_it_is() -> None:
    assert select_channels(["tang", "cddfuse", "li-wu"], "as_toolkit") == {}


def test_the_first_of_several_programs_decides_on_a_metric_of_both() -> None:
    assert "SD" not in select_channels(["tang", "vifb"], "as_toolkit")
    assert select_channels(["vifb", "tang"], "as_toolkit")["SD"] == "per_channel"


def test_metrics_of_no_program_are_computed_of_the_luma() -> None:
    assert "MI" not in select_channels(["MI", "vifb"], "as_toolkit")


@pytest.mark.parametrize("names", [None, ["EN"], ["all"]])
def test_without_the_preset_of_a_program_there_is_no_program_to_follow(
    names: list[str] | None,
) -> None:
    with pytest.raises(InvalidValueError, match=r"preset of a program .*vifb, mefb.* but got"):
        select_channels(names, "as_toolkit")


def test_scores_do_not_depend_on_the_colour_of_other_pairs_in_the_batch() -> None:
    names = list(PRESETS["vifb"].columns)
    channels = select_channels(["vifb"], "as_toolkit")
    gray = IR, VIS[..., 0], FUSED[..., 0]
    together = score_images(
        [IR, gray[0]], [VIS, gray[1]], [FUSED, gray[2]], names, channels=channels
    )
    alone = [
        score_images(*([image] for image in images), names, channels=channels)[0]
        for images in ((IR, VIS, FUSED), gray)
    ]
    assert together == alone


def test_every_metric_can_be_computed_per_channel() -> None:
    names = [name for name, metric in METRICS.items() if not metric.needs_reference]
    found = score(IR, VIS, FUSED, metrics=names, score_colour="per_channel")
    assert list(found) == names
