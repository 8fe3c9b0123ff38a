"""Fusion of 8-bit images: colour conversion, the method, and the output range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.errors import InvalidValueError, PairMismatchError
from fusion_core.images import Pixels, apply_output_range, colour, download, upload
from fusion_core.methods.base import FuseBatch
from fusion_core.parameters import MethodParameters

EightBit = NDArray[np.uint8]


def check_registered(ir: Pixels, vis: Pixels, others: Mapping[str, Pixels] | None = None) -> None:
    """Check that the images of a pair have the same size.

    Args:
        ir: Infrared image.
        vis: Visible image.
        others: Other images by their names, such as `fused`.

    Raises:
        PairMismatchError: The sizes differ; the message contains both.
    """
    if ir.shape[:2] != vis.shape[:2]:
        raise PairMismatchError(
            f"The infrared image is {ir.shape[1]}x{ir.shape[0]} but the visible image is "
            f"{vis.shape[1]}x{vis.shape[0]}; the sources of a pair must be registered to one size, "
            "or be brought to it with --resize if they show the same scene"
        )
    for name, image in (others or {}).items():
        if image.shape[:2] != ir.shape[:2]:
            raise PairMismatchError(
                f"The {name} image is {image.shape[1]}x{image.shape[0]} but its sources are "
                f"{ir.shape[1]}x{ir.shape[0]}"
            )


def fuse_images(
    fuse_batch: FuseBatch,
    ir: Sequence[EightBit],
    vis: Sequence[EightBit],
    parameters: MethodParameters,
    device: torch.device | str = "cpu",
    channels: Literal[1, 3] = 1,
    further: Sequence[Sequence[EightBit]] = (),
) -> list[EightBit]:
    """Fuse pairs of the same size with a loaded method.

    Args:
        fuse_batch: A built method.
        ir: Infrared images `(H, W)` or `(H, W, 3)`. Colours are reduced to luma, unless
            `colour=per_channel` fuses R with R, G with G and B with B.
        vis: Visible images, all `(H, W)` or all `(H, W, 3)`.
        parameters: The method's parameters; colour and output range are applied here.
        device: Device on which the method was built.
        channels: Channels of the images that the method fuses. A method of 3 gets R, G and B, and
            its result is reduced to luma if the visible images or the requested results are gray.
        further: Further sources of each pair, likewise treated as infrared images, as many of each.

    Returns:
        Fused images `(H, W)`, or `(H, W, 3)` where colour is kept, rounded half up.

    Raises:
        InvalidValueError: There is no pair, or the shapes differ.

    >>> from fusion_core.images.synthetic import synthetic_pair
    >>> ir, vis = synthetic_pair(4, 6, seed=0)
    >>> mean = lambda sources: sources.mean(dim=0)
    >>> [image.shape for image in fuse_images(mean, [ir], [vis], MethodParameters())]
    [(4, 6, 3)]
    """
    more = list(zip(*further, strict=True))
    sizes = {image.shape[:2] for images in (ir, vis, *more) for image in images}
    if len(ir) != len(vis) or len(sizes) != 1 or len({image.ndim for image in vis}) != 1:
        raise InvalidValueError(
            f"Expected as many infrared as visible images, all of one size, but got {len(ir)} and "
            f"{len(vis)} of sizes {sorted(sizes)}"
        )
    groups = [ir, vis, *more]
    images = iter(upload([image for group in groups for image in group], device))
    uploaded = [[next(images) for _ in group] for group in groups]
    return download(fuse_on_device(fuse_batch, uploaded, parameters, channels))


@torch.inference_mode()
def fuse_on_device(
    fuse_batch: FuseBatch,
    groups: Sequence[Sequence[Tensor]],
    parameters: MethodParameters,
    channels: Literal[1, 3] = 1,
) -> Tensor:
    """Fuse pairs of the same size that are on the device of the method; see `fuse_images`.

    Args:
        fuse_batch: A built method.
        groups: Infrared, visible and further images of the pairs, as many of each, `(H, W)` or
            `(H, W, 3)` uint8.
        parameters: The method's parameters.
        channels: Channels of the images that the method fuses.

    Returns:
        Fused images on the device: `(B, H, W)`, or `(B, H, W, 3)` where colour is kept, uint8.

    >>> image = torch.full((2, 3), 7, dtype=torch.uint8)
    >>> fuse_on_device(lambda sources: sources[0], [[image], [image]], MethodParameters()).shape
    torch.Size([1, 2, 3])
    """

    def fuse_planes(planes: Sequence[Tensor]) -> Tensor:
        return apply_output_range(fuse_batch(torch.stack(list(planes))), parameters.output_range)

    vis = groups[1]
    keep_colour = vis[0].ndim == 3 and parameters.colour != "gray"
    if channels == 3 or (keep_colour and parameters.colour == "per_channel"):
        coloured = [_coloured(images) for images in groups]
        if channels == 3:
            fused = fuse_planes(coloured)
            fused = fused if keep_colour else colour.rgb_to_ycbcr(fused)[0]
        else:
            fused = fuse_planes([image.flatten(0, 1).unsqueeze(1) for image in coloured])
            fused = fused.unflatten(0, (-1, 3)).squeeze(2)
    else:
        wanted = [groups[0], *groups[2:]] if keep_colour else groups
        grays = [_planes([_gray(image) for image in images]) for images in wanted]
        if keep_colour:
            y, cb, cr = colour.rgb_to_ycbcr(_planes(vis))
            fused = colour.ycbcr_to_rgb(fuse_planes([grays[0], y, *grays[1:]]), cb, cr)
        else:
            fused = fuse_planes(grays)
    rounded = (fused + 0.5).floor().clamp(0, 255).to(torch.uint8)
    if rounded.shape[1] == 1:
        return rounded[:, 0]
    return rounded.permute(0, 2, 3, 1).contiguous()


def _gray(image: Tensor) -> Tensor:
    return image if image.ndim == 2 else colour.luma_on_device(image)


def _planes(images: Sequence[Tensor]) -> Tensor:
    """Stack images to `(B, C, H, W)` float32 in 0..255."""
    stacked = torch.stack([image if image.ndim == 3 else image[..., None] for image in images])
    return stacked.permute(0, 3, 1, 2).float()


def _coloured(images: Sequence[Tensor]) -> Tensor:
    """Stack images to `(B, 3, H, W)`; gray images have three equal channels."""
    if len({image.ndim for image in images}) == 1:
        return _planes(images).expand(-1, 3, -1, -1)
    return torch.cat([_coloured([image]) for image in images])
