from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from support.environment import child_environment
from support.reference_densefuse import densefuse, minmax, random_tensors
from support.reference_metrics import REFERENCES

import fusion_core
from fusion_core import fuse, list_methods, score
from fusion_core.choices import SixteenBit
from fusion_core.errors import (
    ImageDecodeError,
    InvalidValueError,
    IrfuseError,
    PairMismatchError,
    WeightsError,
)
from fusion_core.images.bit_depth import to_eight_bit
from fusion_core.metrics import PRESETS, select_metrics


def noise(seed: int, *shape: int, dtype: type = np.uint8) -> NDArray[Any]:
    high = int(np.iinfo(dtype).max) + 1
    return np.random.default_rng(seed).integers(0, high, shape, dtype=dtype)


IR, VIS, COLOUR = noise(1, 12, 17), noise(2, 12, 17), noise(3, 12, 17, 3)


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "densefuse.safetensors"
    save_file(random_tensors(1), path)
    return path


def test_fuse_gives_the_densefuse_of_the_weights_in_a_file(weights: Path) -> None:
    expected = minmax(densefuse([IR, VIS], random_tensors(1), "addition"))
    assert np.abs(fuse(IR, VIS, weights=weights).astype(int) - expected).max() <= 1


def test_fuse_passes_the_methods_parameters_on(weights: Path) -> None:
    expected = minmax(densefuse([IR, VIS], random_tensors(1), "l1_norm", 3))
    fused = fuse(IR, VIS, weights=weights, strategy="l1_norm", radius=3)
    assert np.abs(fused.astype(int) - expected).max() <= 1


def test_weights_may_be_named_by_text_or_path(weights: Path) -> None:
    by_text, by_path = fuse(IR, VIS, weights=str(weights)), fuse(IR, VIS, weights=weights)
    assert np.array_equal(by_text, by_path)


def test_weights_that_were_overwritten_are_read_again(weights: Path) -> None:
    os.utime(weights, (1e9, 1e9))  # written long ago: file systems count time in coarse ticks
    before = fuse(IR, VIS, weights=weights)
    save_file(random_tensors(2), weights)
    expected = minmax(densefuse([IR, VIS], random_tensors(2), "addition"))
    after = fuse(IR, VIS, weights=weights)
    assert not np.array_equal(before, after)
    assert np.abs(after.astype(int) - expected).max() <= 1


def test_random_weights_fuse_the_same_every_time() -> None:
    first, second = (fuse(IR, VIS, weights="random:4") for _ in range(2))
    assert np.array_equal(first, second)


def test_random_weights_of_another_seed_fuse_otherwise() -> None:
    assert not np.array_equal(fuse(IR, VIS, weights="random:4"), fuse(IR, VIS, weights="random:5"))


def test_colour_of_the_visible_image_is_kept_by_default() -> None:
    assert fuse(IR, COLOUR, weights="random:4").shape == (12, 17, 3)


def test_colour_gray_gives_a_gray_result() -> None:
    assert fuse(IR, COLOUR, weights="random:4", colour="gray").shape == (12, 17)


def test_fused_image_is_uint8_whatever_the_sources() -> None:
    fused = fuse(noise(1, 5, 6, dtype=np.uint16), noise(2, 5, 6), weights="random:4")
    assert (str(fused.dtype), fused.shape) == ("uint8", (5, 6))


@pytest.mark.parametrize("rule", ["percentile", "full"])
def test_deep_sources_are_brought_to_eight_bits_by_the_rule(rule: SixteenBit) -> None:
    ir, vis = noise(1, 9, 8, dtype=np.uint16) // 9, noise(2, 9, 8, dtype=np.uint16) // 3
    fused = fuse(ir, vis, weights="random:4", sixteen_bit=rule)
    eight = [to_eight_bit(image, rule) for image in (ir, vis)]
    assert np.array_equal(fused, fuse(*eight, weights="random:4"))


def test_views_with_strides_and_read_only_arrays_are_fused() -> None:
    ir, vis = IR[::-1, ::2], VIS[:, ::2]
    frozen = [np.ascontiguousarray(image) for image in (ir, vis)]
    for image in frozen:
        image.setflags(write=False)
    fused = fuse(ir, vis, weights="random:4")
    assert np.array_equal(fused, fuse(*frozen, weights="random:4"))


def test_fuse_leaves_its_inputs_alone() -> None:
    ir, vis = IR.copy(), COLOUR.copy()
    fuse(ir, vis, weights="random:4")
    assert np.array_equal(ir, IR)
    assert np.array_equal(vis, COLOUR)


def test_readme_usage_fuses_and_scores_one_pair() -> None:
    fused = fuse(IR, VIS, method="densefuse", weights="random:0", strategy="l1_norm")
    scores = score(IR, VIS, fused, metrics=["EN", "SSIM_a"])
    expected = {name: REFERENCES[name](IR, VIS, fused) for name in ("EN", "SSIM_a")}
    assert scores == pytest.approx(expected, abs=1e-12)


def test_score_computes_the_default_metrics_by_default() -> None:
    assert list(score(IR, VIS, noise(4, 12, 17))) == select_metrics()


def test_score_takes_presets_and_metrics_together() -> None:
    found = list(score(IR, VIS, noise(4, 12, 17), metrics=["MI", "li-wu"]))
    assert found == [*PRESETS["li-wu"].columns, "MI"]


def test_score_of_an_undefined_metric_is_none() -> None:
    assert score(IR, VIS, IR, metrics=["SCD"]) == {"SCD": None}


def test_score_of_no_metrics_is_empty() -> None:
    assert score(IR, VIS, IR, metrics=[]) == {}


def test_score_takes_gray_and_colour_images_together() -> None:
    gray = ((COLOUR.astype(int) @ np.array([299, 587, 114]) + 500) // 1000).astype(np.uint8)
    assert score(IR, COLOUR, VIS) == score(IR, gray, VIS)


def test_score_brings_deep_images_to_eight_bits() -> None:
    deep = noise(5, 12, 17, dtype=np.uint16)
    assert score(deep, VIS, IR) == score(to_eight_bit(deep), VIS, IR)


def test_unknown_method_is_refused_with_the_list_of_methods() -> None:
    with pytest.raises(InvalidValueError, match="Unknown method 'gan'; the methods are: densefuse"):
        fuse(IR, VIS, method="gan", weights="random:0")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lambda_": 3}, "Unknown parameter 'lambda_'; the parameters are: .*strategy, radius"),
        ({"strategy": "max"}, "Parameter strategy: .*'addition', 'mean' or 'l1_norm'.* got 'max'"),
        ({"radius": 65}, "Parameter radius: .*64, but got 65"),
        ({"radius": -1}, "Parameter radius: .*0, but got -1"),
        ({"colour": "rgb"}, "Parameter colour: .*'luma'.* got 'rgb'"),
        ({"output_range": None}, "Parameter output_range: .*got None"),
    ],
)
def test_bad_parameter_is_refused_by_name(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        fuse(IR, VIS, weights="random:0", **parameters)


def test_missing_weights_are_asked_for() -> None:
    with pytest.raises(WeightsError, match="res2netfuse needs weights: give the trained"):
        fuse(IR, VIS, method="res2netfuse", convolutions="separate")


@pytest.mark.parametrize("method", ["densefuse", "res2netfuse"])
def test_autoencoders_have_weights_by_default(method: str) -> None:
    own = Path(fusion_core.__file__).parent / "pretrained" / f"{method}.safetensors"
    fused = fuse(IR, VIS, method=method)
    assert np.array_equal(fused, fuse(IR, VIS, method=method, weights=own))
    assert not np.array_equal(fused, fuse(IR, VIS, method=method, weights="random:0"))


def test_weight_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent.safetensors"
    with pytest.raises(WeightsError, match=r"absent\.safetensors: No such file"):
        fuse(IR, VIS, weights=path)


def test_folder_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="Cannot read the weights"):
        fuse(IR, VIS, weights=tmp_path)


@pytest.mark.parametrize("method", ["densefuse", "vgg_multilayer"])
def test_text_that_can_be_no_file_is_refused(method: str) -> None:
    for weights in ("", " ", "a\0b"):
        with pytest.raises(WeightsError, match="weights"):
            fuse(IR, VIS, method=method, weights=weights)


def test_bad_random_weights_are_refused() -> None:
    with pytest.raises(WeightsError, match="Expected random:SEED"):
        fuse(IR, VIS, weights="random:many")


def test_sources_of_different_sizes_are_refused_with_both_sizes() -> None:
    with pytest.raises(
        PairMismatchError, match=r"infrared image is 17x12 but .*visible .*is 16x12"
    ):
        fuse(IR, VIS[:, :16], weights="random:0")


def test_scored_sources_of_different_sizes_are_refused() -> None:
    with pytest.raises(
        PairMismatchError, match=r"infrared image is 17x12 but .*visible .*is 17x11"
    ):
        score(IR, VIS[:11], IR)


def test_fused_image_of_another_size_is_called_the_fused_image() -> None:
    with pytest.raises(PairMismatchError, match="fused image is 16x12"):
        score(IR, VIS, IR[:, :16])


def test_image_of_another_type_is_refused_by_its_name() -> None:
    for dtype in ("float32", "int64", "bool", "int16"):
        with pytest.raises(InvalidValueError, match=f"vis of uint8 or uint16, but got {dtype}$"):
            fuse(IR, VIS.astype(dtype), weights="random:0")


def test_array_that_is_no_image_is_refused_with_its_shape() -> None:
    for shape in ((12,), (12, 17, 1), (12, 17, 4), (1, 12, 17, 3), (0, 17), (0, 0, 3), ()):
        expected = rf"Expected ir of shape .*, but got {re.escape(str(shape))}$"
        with pytest.raises(InvalidValueError, match=expected):
            fuse(np.zeros(shape, dtype=np.uint8), VIS, weights="random:0")


def test_scored_array_that_is_no_image_is_named() -> None:
    with pytest.raises(InvalidValueError, match="Expected fused of shape"):
        score(IR, VIS, np.zeros((12, 17, 2), dtype=np.uint8))


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="Unknown metric 'XYZ'; the metrics are: EN"):
        score(IR, VIS, IR, metrics=["EN", "XYZ"])


def test_one_base_catches_every_error() -> None:
    for error in (InvalidValueError, ImageDecodeError, PairMismatchError, WeightsError):
        assert issubclass(error, IrfuseError)


def test_invalid_value_is_a_value_error_too() -> None:
    assert issubclass(InvalidValueError, ValueError)


def test_public_names_are_those_of_their_modules() -> None:
    assert {name: getattr(fusion_core, name).__module__ for name in ("fuse", "score")} == {
        "fuse": "fusion_core.api",
        "score": "fusion_core.api",
    }
    assert all(hasattr(fusion_core, name) for name in fusion_core.__all__)


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No fusion_core attribute fused"):
        _ = fusion_core.fused


def test_methods_are_listed() -> None:
    assert "densefuse" in list_methods()


def test_import_of_the_package_and_its_errors_is_free_of_torch_and_numpy() -> None:
    code = (
        "import sys, fusion_core, fusion_core.errors; print({'torch', 'numpy'} & set(sys.modules))"
    )
    assert python(code) == "set()"


def test_the_registries_are_free_of_torch_and_numpy() -> None:
    code = (
        "import sys; from fusion_core import METHODS, METRICS; "
        "print({'torch', 'numpy'} & set(sys.modules))"
    )
    assert python(code) == "set()"


def test_core_knows_neither_ray_nor_storage() -> None:
    code = (
        "import sys, fusion_core.api, fusion_core.images.synthetic; "
        "print({'ray', 'fsspec', 'pyarrow', 's3fs', 'cluster', 'jobs'} & set(sys.modules))"
    )
    assert python(code) == "set()"


def test_unknown_device_is_refused() -> None:
    image = np.zeros((4, 4), dtype=np.uint8)
    with pytest.raises(InvalidValueError, match="device 'nonsense'"):
        fusion_core.fuse(image, image, weights="random:0", device="nonsense")
