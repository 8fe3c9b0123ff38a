"""Adaptation of methods to the contract of irfuse: sizes, value ranges, channels and types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_core.errors import ContractError
from fusion_core.extensions.defining import Adaptation, Range
from fusion_core.methods.base import FuseBatch
from fusion_core.networks import full_precision

_WHITE = 255.0


def adapt(
    fuse: Callable[..., Any], adaptation: Adaptation, device: torch.device | str = "cpu"
) -> FuseBatch:
    """Adapt a method to the contract of irfuse.

    Args:
        fuse: The method: `(K, B, C, H, W)` of the type and range of the adaptation to
            `(B, C, H, W)`. A `torch.nn.Module` is moved to the device and set to `eval()`.
        adaptation: What the method expects and returns.
        device: Device on which the method computes.

    Returns:
        The function that fuses batches: `(K, B, C, H, W)` float32 in 0..255 to `(B, C, H, W)`
        float32, where 0..255 stand for the ends of the adaptation's output range.

    Raises:
        ContractError: When it is called, and the method returns something else than images of the
            size of its sources, or values that are not finite.

    >>> mean = lambda sources: sources.mean(dim=0)
    >>> fuse_batch = adapt(mean, Adaptation((0, 1), (0, 1), pad_multiple=8))
    >>> fuse_batch(torch.full((2, 1, 1, 3, 5), 51.0)).shape
    torch.Size([1, 1, 3, 5])
    """
    place = torch.device(device)
    if isinstance(fuse, nn.Module):
        fuse = fuse.to(place).eval().requires_grad_(False)

    def call(sources: Tensor) -> Tensor:
        """Fuse sources whose size the method accepts."""
        given = _stretch(sources, (0.0, _WHITE), adaptation.input_range)
        given = given.to(getattr(torch, adaptation.dtype)).contiguous()
        parts = given.split(len(given[0]) if adaptation.batch else 1, dim=1)
        expected = sources.shape[2:]
        fused = torch.cat([check_result(fuse(part), (part.shape[1], *expected)) for part in parts])
        return _stretch(fused.to(place, torch.float32), adaptation.output_range, (0.0, _WHITE))

    def fuse_batch(sources: Tensor) -> Tensor:
        with full_precision(place):
            if adaptation.fixed_size is not None:
                return in_tiles(call, sources, adaptation.fixed_size, adaptation.overlap)
            height, width = sources.shape[-2:]
            size = [-side % adaptation.pad_multiple + side for side in (height, width)]
            return call(reflect(sources, *size))[..., :height, :width]

    return fuse_batch


def on_arrays(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function of a batch of one pair that calls a function of two arrays.

    Args:
        function: Takes and returns arrays `(H, W)`, or `(H, W, 3)` if there are three channels.
        arguments: Keyword arguments for the function.

    Returns:
        Function of `(2, 1, C, H, W)` that returns `(1, C, H, W)`.
    """

    def fuse(sources: Tensor) -> Tensor:
        channels, height, width = sources.shape[2:]
        images = [source.movedim(0, -1).cpu().numpy() for source in sources[:, 0]]
        if channels == 1:
            images = [image[..., 0] for image in images]
        fused = function(*(np.ascontiguousarray(image) for image in images), **arguments)
        found = _to_tensor(fused)
        _check_shape(found.shape, (height, width) if channels == 1 else (height, width, channels))
        return (found if channels == 3 else found.unsqueeze(-1)).movedim(-1, 0).unsqueeze(0)

    return fuse


def check_result(result: object, expected: Sequence[int]) -> Tensor:
    """Check what a method returned.

    Args:
        result: Its result.
        expected: Shape that it must have.

    Returns:
        The result as a tensor of floating-point numbers.

    Raises:
        ContractError: It is no array of numbers, has another shape, or values that are not finite.
    """
    fused = _to_tensor(result)
    _check_shape(fused.shape, expected)
    undefined = fused.numel() - int(torch.isfinite(fused).sum())
    if undefined:
        raise ContractError.about(
            "values",
            f"The method returned NaN or infinite values in {undefined} of {fused.numel()} pixels",
        )
    return fused


def _to_tensor(result: object) -> Tensor:
    if isinstance(result, np.ndarray) and (result.dtype == bool or result.dtype.kind in "fiu"):
        result = torch.from_numpy(np.ascontiguousarray(result).astype(_native(result.dtype)))
    if not isinstance(result, Tensor) or result.is_complex():
        got = f"{result.dtype} values" if isinstance(result, np.ndarray) else repr(type(result))
        raise ContractError(f"The method must return an array or tensor of numbers, but got {got}")
    return result if result.is_floating_point() else result.to(torch.float32)


def _native(dtype: np.dtype[Any]) -> str:
    return "float64" if dtype == np.float64 else "float32"


def _check_shape(found: Sequence[int], expected: Sequence[int]) -> None:
    if tuple(found) != tuple(expected):
        raise ContractError.about(
            "size",
            f"The method returned an image of shape {tuple(found)}, but its sources require "
            f"{tuple(expected)}",
        )


def _stretch(values: Tensor, given: Range, wanted: Range) -> Tensor:
    """Map one range of values to another."""
    if given == wanted:
        return values
    scale = (wanted[1] - wanted[0]) / (given[1] - given[0])
    return (values - given[0]) * scale + wanted[0]


def reflect(images: Tensor, height: int, width: int) -> Tensor:
    """Enlarge images at the bottom and on the right by reflection, as often as it takes.

    >>> reflect(torch.arange(3.0).view(1, 3), 1, 6)
    tensor([[0., 1., 2., 1., 0., 1.]])
    """
    for axis, size in ((-2, height), (-1, width)):
        side = images.shape[axis]
        if side != size:
            period = max(1, 2 * (side - 1))
            places = torch.arange(size, device=images.device) % period
            images = images.index_select(axis, torch.minimum(places, period - places))
    return images


def in_tiles(fuse: FuseBatch, sources: Tensor, size: tuple[int, int], overlap: int) -> Tensor:
    """Fuse images of any size by a method that accepts one size.

    Tiles overlap, and each pixel is the mean of those that cover it, weighted by the distance from
    their borders.

    Args:
        fuse: The method, which accepts `(K, B, C, *size)`.
        sources: `(K, B, C, H, W)`.
        size: Height and width of the tiles.
        overlap: Pixels by which neighbouring tiles overlap at least.

    Returns:
        `(B, C, H, W)`.
    """
    height, width = sources.shape[-2:]
    padded = reflect(sources, max(height, size[0]), max(width, size[1]))
    total = torch.zeros(padded.shape[1:], device=padded.device)
    weight = torch.zeros(padded.shape[-2:], device=padded.device)
    ramps = [_ramp(side, overlap, padded.device) for side in size]
    window = ramps[0][:, None] * ramps[1]
    for top in _starts(padded.shape[-2], size[0], overlap):
        for left in _starts(padded.shape[-1], size[1], overlap):
            place = (..., slice(top, top + size[0]), slice(left, left + size[1]))
            total[place] += fuse(padded[place]) * window
            weight[place] += window
    return (total / weight)[..., :height, :width]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Return where tiles begin that cover a length at equal distances."""
    count = max(1, -(-(length - overlap) // (size - overlap)))
    return [round(n * (length - size) / max(1, count - 1)) for n in range(count)]


def _ramp(size: int, overlap: int, device: torch.device) -> Tensor:
    """Return weights that rise from the ends of a tile over the overlap."""
    places = torch.arange(size, device=device, dtype=torch.float32)
    distance = torch.minimum(places, size - 1 - places) + 1.0
    return (distance / (overlap + 1)).clamp(max=1.0)
