"""Metrics that have a published value."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli import call_cli

from fusion_core import score
from fusion_core.errors import ImageDecodeError, InvalidValueError, PairMismatchError
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import METRICS, metrics_printed_as
from jobs.identify import Identification, identify_value

IR, VIS = synthetic_pair(48, 64, seed=1)
FUSED = (VIS // 2 + IR[..., None] // 2).astype(np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Locations of a gray infrared, a visible and a fused image in colour."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{name}.png" for name in ("ir", "vis", "fused")]
    for path, image in zip(paths, (IR, VIS, FUSED), strict=True):
        Image.fromarray(image).save(path)
    return [str(path) for path in paths]


def value(metric: str, colour: str = "luma") -> float:
    found = score(IR, VIS, FUSED, metrics=[metric], score_colour=colour)[metric]  # type: ignore[arg-type]
    assert found is not None
    return found


def matches(found: Identification) -> list[tuple[str, str]]:
    return [(r.metric, r.channels) for r in found.readings if r.matches]


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("PSNR", "PSNR"),
        ("PSNR", "PSNR_vifb"),
        ("psnr", "PSNR_tang"),
        ("SSIM", "SSIM_cddfuse"),
        ("Q^AB/F", "Qabf_255"),
        ("VIF", "VIFF"),
        ("Variance", "SD"),
    ],
)
def test_a_published_value_is_that_of_the_dialect_that_has_it(
    images: list[str], name: str, metric: str
) -> None:
    found = identify_value(f"{name}={value(metric):.4f}", images)
    assert (metric, "luma") in matches(found)
    assert {r.metric for r in found.readings} == metrics_printed_as(name)


def test_values_that_are_equal_when_rounded_are_all_named(images: list[str]) -> None:
    found = identify_value(f"MI={value('MI_vifb'):.3f}", images)
    assert {metric for metric, _ in matches(found)} == {"MI_vifb", "MI_cddfuse"}


def test_colour_images_are_computed_per_channel_too(images: list[str]) -> None:
    found = identify_value(f"EN={value('EN', 'per_channel'):.6f}", images)
    assert matches(found) == [("EN", "per_channel")]


def test_a_value_of_another_name_is_found_too(images: list[str]) -> None:
    found = identify_value(f"SSIM={value('AG'):.6f}", images)
    assert matches(found) == [("AG", "luma")]
    assert metrics_printed_as("SSIM") <= {r.metric for r in found.readings}


def test_a_value_of_no_metric_has_no_match_but_what_the_name_gives(images: list[str]) -> None:
    found = identify_value("PSNR=123456.7", images)
    assert matches(found) == []
    assert {r.metric for r in found.readings} == metrics_printed_as("PSNR")


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ("PSNR", "Expected NAME=VALUE, such as PSNR=67.85, but got 'PSNR'"),
        ("=1", "Expected NAME=VALUE"),
        ("PSNR=high", "Expected a number as the published value, but got 'high'"),
        ("PSNR=inf", "Expected a number"),
        ("PSNR=1e400", "Expected a number"),
    ],
)
def test_what_is_no_published_value_is_refused(
    images: list[str], published: str, message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        identify_value(published, images)


def test_other_than_three_images_are_refused(images: list[str]) -> None:
    with pytest.raises(InvalidValueError, match=r"the fused image .*, but got 2 images"):
        identify_value("PSNR=1", images[:2])


def test_a_bad_image_is_named(images: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageDecodeError, match="fused image: "):
        identify_value("PSNR=1", [*images[:2], str(tmp_path / "bad.png")])


def test_images_of_different_sizes_are_refused(images: list[str], tmp_path: Path) -> None:
    Image.fromarray(FUSED[1:]).save(tmp_path / "small.png")
    with pytest.raises(PairMismatchError):
        identify_value("PSNR=1", [*images[:2], str(tmp_path / "small.png")])


def test_the_command_names_the_dialect_and_its_programs(images: list[str]) -> None:
    published = f"PSNR={value('PSNR_tang'):.2f}"
    lines = call_cli("metrics", "--identify", published, *images).stdout.splitlines()
    assert lines[0] == f"{published} is the value of:"
    assert lines[2].split()[0] == "PSNR_tang"
    assert "Tang, IVIF_ZOO" in lines[2]
    assert "Other metrics that are printed as PSNR:" in lines


def test_the_command_prints_json(images: list[str]) -> None:
    printed = call_cli("metrics", "--identify", "EN=1.00", *images, "--json").stdout
    found = json.loads(printed)
    assert (found["name"], found["printed"]) == ("EN", "1.00")
    assert {r["metric"] for r in found["readings"]} >= {"EN"}


def test_every_metric_is_found_under_its_own_name() -> None:
    missed = [name for name in METRICS if name not in metrics_printed_as(name)]
    assert [name for name in missed if not METRICS[name].needs_reference] == []


def test_names_that_programs_share_lead_to_all_their_dialects() -> None:
    assert metrics_printed_as("MS-SSIM") == {"MS_SSIM", "MS_SSIM_wang", "MS_SSIM_zoo"}
    assert metrics_printed_as("MEF-SSIM") == {"MS_SSIM"}
    assert metrics_printed_as("nothing") == set()
