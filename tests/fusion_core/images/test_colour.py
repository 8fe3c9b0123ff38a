from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.errors import InvalidValueError
from fusion_core.images import acceleration, prepare_images
from fusion_core.images.colour import luma, luma_on_device, rgb_to_ycbcr, ycbcr_to_rgb
from fusion_core.methods.fusion import fuse_images
from fusion_core.parameters import MethodParameters

Pixels = NDArray[np.uint8]


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def exact_luma(image: Pixels) -> Pixels:
    """Luma in whole thousandths, rounded half up without any floating point."""
    thousandths: NDArray[np.int64] = image.astype(np.int64) @ np.array([299, 587, 114])
    return ((thousandths + 500) // 1000).astype(np.uint8)


def take_infrared(sources: Tensor) -> Tensor:
    return sources[0]


def take_visible(sources: Tensor) -> Tensor:
    return sources[1]


def take_mean(sources: Tensor) -> Tensor:
    return sources.mean(dim=0)


def parameters(**values: str) -> MethodParameters:
    return MethodParameters.parse(values)


def colour_cube(step: int) -> Pixels:
    """All colours on a lattice, `(N, N * N, 3)`."""
    levels = np.array([*range(0, 255, step), 255], dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return grid.reshape(len(levels), -1, 3)


def test_luma_of_equal_channels_is_that_level_for_all_levels() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(luma(np.repeat(levels[..., None], 3, axis=2)), levels)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("blue", [0, 3, 64, 127, 128, 250, 255])
def test_luma_is_exact_and_rounds_half_up_for_every_red_and_green(
    blue: int, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_images()
    if not kernels:
        monkeypatch.setattr(acceleration, "_KERNELS", "not loaded")
    image = np.full((256, 256, 3), blue, dtype=np.uint8)
    image[..., 0], image[..., 1] = np.indices((256, 256))
    assert np.array_equal(luma(image), exact_luma(image))


def test_luma_of_a_gray_image_is_that_image() -> None:
    image = noise(1, 5, 6)
    assert np.array_equal(luma(image), image)


def test_gray_has_no_chroma() -> None:
    gray = torch.arange(256.0).expand(1, 3, 1, 256)
    y, cb, cr = rgb_to_ycbcr(gray)
    assert torch.allclose(y, gray[:, :1], rtol=0, atol=1e-4)
    assert max(cb.abs().max().item(), cr.abs().max().item()) < 1e-4


def test_chroma_of_pure_colours_is_that_of_the_jpeg_convention() -> None:
    red_and_blue = torch.tensor([[255.0, 0, 0], [0, 0, 255.0]]).reshape(2, 3, 1, 1)
    y, cb, cr = (plane.flatten().tolist() for plane in rgb_to_ycbcr(red_and_blue))
    assert y == pytest.approx([76.245, 29.07], abs=1e-3)
    assert cb == pytest.approx([-43.02762, 127.5], abs=1e-3)
    assert cr == pytest.approx([127.5, -20.73466], abs=1e-3)


def test_colours_survive_the_round_trip_through_ycbcr() -> None:
    rgb = torch.from_numpy(colour_cube(5)).permute(2, 0, 1)[None].float()
    assert torch.allclose(ycbcr_to_rgb(*rgb_to_ycbcr(rgb)), rgb, rtol=0, atol=2e-4)


def test_colours_outside_the_cube_are_clipped() -> None:
    chroma = torch.tensor([100.0, -100.0]).reshape(2, 1, 1, 1)
    rgb = ycbcr_to_rgb(torch.full((2, 1, 1, 1), 250.0), chroma, chroma)
    assert 0 <= rgb.min().item() <= rgb.max().item() <= 255
    assert rgb[0, 0].item() == 255.0


@pytest.mark.parametrize("colour", ["luma", "per_channel"])
def test_colours_are_kept_where_the_method_keeps_the_visible_image(colour: str) -> None:
    visible = colour_cube(17)
    infrared = noise(1, *visible.shape[:2])
    (fused,) = fuse_images(take_visible, [infrared], [visible], parameters(colour=colour))
    assert np.array_equal(fused, visible)


def test_gray_fusion_of_a_colour_image_fuses_its_luma() -> None:
    visible = noise(2, 6, 7, 3)
    chosen = parameters(colour="gray")
    (fused,) = fuse_images(take_visible, [noise(1, 6, 7)], [visible], chosen)
    assert np.array_equal(fused, exact_luma(visible))


@pytest.mark.parametrize("colour", ["luma", "gray", "per_channel"])
def test_gray_visible_image_gives_a_gray_result(colour: str) -> None:
    ir, vis = noise(1, 6, 7), noise(2, 6, 7)
    (fused,) = fuse_images(take_visible, [ir], [vis], parameters(colour=colour))
    assert np.array_equal(fused, vis)


def test_per_channel_fusion_fuses_each_channel_with_the_infrared_image() -> None:
    ir, vis = noise(1, 6, 7), noise(2, 6, 7, 3)
    (fused,) = fuse_images(take_mean, [ir], [vis], parameters(colour="per_channel"))
    expected = (ir[..., None].astype(int) + vis + 1) // 2
    assert np.array_equal(fused, expected)


def test_luma_fusion_replaces_luma_and_keeps_chroma() -> None:
    ir = noise(1, 6, 7) // 4 + np.uint8(96)
    vis = noise(2, 6, 7, 3) // 4 + np.uint8(96)
    (fused,) = fuse_images(take_infrared, [ir], [vis], parameters(colour="luma"))
    shift = ir - vis.astype(float) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(fused - (vis + shift[..., None])).max() < 0.5 + 1e-3


def test_per_channel_fusion_of_two_colour_images_fuses_channel_with_channel() -> None:
    ir, vis = noise(1, 6, 7, 3), noise(2, 6, 7, 3)
    (fused,) = fuse_images(take_mean, [ir], [vis], parameters(colour="per_channel"))
    assert np.array_equal(fused, (ir.astype(int) + vis + 1) // 2)
    both = [ir, noise(3, 6, 7)]
    first, second = fuse_images(take_mean, both, [vis, vis], parameters(colour="per_channel"))
    assert np.array_equal(first, fused)
    assert np.array_equal(second, (both[1][..., None].astype(int) + vis + 1) // 2)


@pytest.mark.parametrize("colour", ["luma", "gray", "per_channel"])
def test_further_sources_are_fused_like_infrared_images(colour: str) -> None:
    ir, vis, third = noise(1, 6, 7), noise(2, 6, 7, 3), noise(3, 6, 7)
    chosen = parameters(colour=colour)
    for place, alone in ((0, ir), (2, third)):
        (found,) = fuse_images(lambda s, p=place: s[p], [ir], [vis], chosen, further=[[third]])
        (expected,) = fuse_images(lambda s: s[0], [alone], [vis], chosen)
        assert np.array_equal(found, expected)
    (mean,) = fuse_images(
        lambda sources: sources.mean(dim=0), [ir], [third], parameters(), further=[[ir, third]]
    )
    assert np.array_equal(mean, (ir.astype(int) + third + 1) // 2)


@pytest.mark.parametrize("colour", ["luma", "gray"])
def test_colour_infrared_image_is_reduced_to_luma(colour: str) -> None:
    ir, vis, chosen = noise(1, 6, 7, 3), noise(2, 6, 7, 3), parameters(colour=colour)
    (fused,) = fuse_images(take_mean, [ir], [vis], chosen)
    (expected,) = fuse_images(take_mean, [exact_luma(ir)], [vis], chosen)
    assert np.array_equal(fused, expected)


@pytest.mark.parametrize("colour", ["luma", "gray", "per_channel"])
def test_pairs_of_a_batch_keep_their_order_and_their_colours(colour: str) -> None:
    ir = [noise(i, 6, 7) for i in range(3)]
    vis = [noise(i + 9, 6, 7, 3) for i in range(3)]
    chosen = parameters(colour=colour)
    batch = fuse_images(take_mean, ir, vis, chosen)
    singles = [fuse_images(take_mean, [a], [b], chosen)[0] for a, b in zip(ir, vis, strict=True)]
    assert np.array_equal(np.stack(batch), np.stack(singles))


def test_fused_values_are_rounded_half_up() -> None:
    values = torch.tensor([0.49999, 0.5, 1.5, 2.5, 3.49999, 254.5, 254.49999, 255.0])
    image = np.zeros((1, 8), dtype=np.uint8)
    (fused,) = fuse_images(lambda _: values.reshape(1, 1, 1, 8), [image], [image], parameters())
    assert fused.tolist() == [[0, 1, 2, 3, 3, 255, 254, 255]]


def test_fused_values_beyond_eight_bits_are_clipped_and_do_not_wrap() -> None:
    values = torch.tensor([-300.0, -0.6, 255.4, 255.6, 256.0, 900.0])
    image = np.zeros((1, 6), dtype=np.uint8)
    (fused,) = fuse_images(lambda _: values.reshape(1, 1, 1, 6), [image], [image], parameters())
    assert fused.tolist() == [[0, 0, 255, 255, 255, 255]]


def test_minmax_of_per_channel_fusion_is_each_channels_own() -> None:
    vis = np.stack([noise(i, 6, 7) // np.uint8(i + 2) for i in range(3)], axis=-1)
    chosen = parameters(colour="per_channel", output_range="minmax")
    (fused,) = fuse_images(take_visible, [noise(9, 6, 7)], [vis], chosen)
    assert (fused.min(axis=(0, 1)).tolist(), fused.max(axis=(0, 1)).tolist()) == (
        [0, 0, 0],
        [255, 255, 255],
    )


def test_fused_images_are_contiguous_bytes() -> None:
    (fused,) = fuse_images(take_visible, [noise(1, 6, 7)], [noise(2, 6, 7, 3)], parameters())
    assert (str(fused.dtype), fused.flags.c_contiguous) == ("uint8", True)


Shapes = list[tuple[int, ...]]

UNEQUAL: dict[str, tuple[Shapes, Shapes]] = {
    "no pair": ([], []),
    "more infrared images": ([(4, 4), (4, 4)], [(4, 4)]),
    "visible images of two sizes": ([(4, 4), (4, 4)], [(4, 4), (4, 5)]),
    "gray and colour visible images": ([(4, 4), (4, 4)], [(4, 4), (4, 4, 3)]),
    "infrared image of another size": ([(4, 4)], [(4, 5)]),
    "infrared image that would broadcast": ([(1, 4)], [(4, 4)]),
    "infrared images of two sizes": ([(4, 4), (4, 5)], [(4, 4), (4, 4)]),
}


@pytest.mark.parametrize("case", UNEQUAL)
def test_pairs_that_are_not_of_one_shape_are_refused(case: str) -> None:
    ir, vis = ([np.zeros(shape, dtype=np.uint8) for shape in shapes] for shapes in UNEQUAL[case])
    with pytest.raises(InvalidValueError, match="Expected"):
        fuse_images(take_mean, ir, vis, parameters())


@pytest.mark.parametrize("shape", [(5, 7, 3), (2, 5, 7, 3), (2, 3, 1, 1, 3)])
def test_luma_of_tensors_is_that_of_arrays(shape: tuple[int, ...]) -> None:
    images = noise(3, *shape)
    found = luma_on_device(torch.from_numpy(images))
    assert np.array_equal(found.numpy(), exact_luma(images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_luma_on_a_gpu_is_that_of_arrays() -> None:
    cube = colour_cube(15)
    found = luma_on_device(torch.from_numpy(cube).cuda())
    assert np.array_equal(found.cpu().numpy(), exact_luma(cube))
