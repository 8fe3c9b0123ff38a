from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fusion_core.networks.tiling import map_tiles


def whole_numbers(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 1000, shape, generator=generator).double()


def box_sum(images: Tensor, radius: int) -> Tensor:
    """Sum over K sources and square blocks with repeated border: `(K, B, 1, H, W)` to 4-D."""
    padded = functional.pad(images.sum(dim=0), (radius,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * radius + 1, stride=1, divisor_override=1)


sizes = st.integers(1, 24)


@given(height=sizes, width=sizes, tile=st.integers(1, 9), radius=st.integers(0, 4))
@settings(derandomize=True, deadline=None, max_examples=150, database=None)
def test_tiled_equals_whole_exactly(height: int, width: int, tile: int, radius: int) -> None:
    images = whole_numbers(2, 3, 1, height, width)
    tiled = map_tiles(lambda part: box_sum(part, radius), images, tile=tile, halo=radius)
    assert torch.equal(tiled, box_sum(images, radius))


@given(height=sizes, width=sizes, tile=st.integers(1, 9), halo=st.integers(0, 4))
@settings(derandomize=True, deadline=None, max_examples=150, database=None)
def test_function_never_sees_more_than_a_tile_and_its_halo(
    height: int, width: int, tile: int, halo: int
) -> None:
    seen = []

    def record(part: Tensor) -> Tensor:
        seen.append(max(part.shape[-2:]))
        return part

    map_tiles(record, whole_numbers(1, 1, height, width), tile=tile, halo=halo)
    assert max(seen) <= tile + 2 * halo


def test_image_not_larger_than_a_tile_is_handed_over_whole() -> None:
    images = whole_numbers(2, 1, 1, 8, 8)
    calls: list[Tensor] = []

    def record(part: Tensor) -> Tensor:
        calls.append(part)
        return part[0]

    map_tiles(record, images, tile=8, halo=3)
    assert [part is images for part in calls] == [True]


def test_tiles_of_a_large_image_are_nearly_equal() -> None:
    widths = []

    def record(part: Tensor) -> Tensor:
        widths.append(part.shape[-1])
        return part

    map_tiles(record, whole_numbers(1, 1, 5, 101), tile=50, halo=0)
    assert sorted(widths) == [33, 34, 34]


def test_result_may_have_other_channels_and_type() -> None:
    images = whole_numbers(2, 3, 1, 9, 7)
    result = map_tiles(
        lambda part: part.flatten(0, 1)[:2, [0, 0, 0]].float(), images, tile=4, halo=1
    )
    assert (result.shape, result.dtype) == ((2, 3, 9, 7), torch.float32)
