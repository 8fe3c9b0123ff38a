"""Fusion of 8-bit images: colour conversion, the method, and the output range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.errors import InvalidValueError, PairMismatchError
from fusion_core.images import Pixels, apply_output_range, colour
from fusion_core.methods.base import FuseBatch
from fusion_core.parameters import MethodParameters

EightBit = NDArray[np.uint8]


def check_registered(
    ir: Pixels, vis: Pixels, fused: Pixels | None = None, reference: Pixels | None = None
) -> None:
    """Check that the images of a pair have the same size: its sources, and the others if given.

    Raises:
        PairMismatchError: The sizes differ; the message contains both.
    """
    if ir.shape[:2] != vis.shape[:2]:
        raise PairMismatchError(
            f"The infrared image is {ir.shape[1]}x{ir.shape[0]} but the visible image is "
            f"{vis.shape[1]}x{vis.shape[0]}; the sources of a pair must be registered to one size, "
            "or be brought to it with --resize if they show the same scene"
        )
    for name, image in (("fused", fused), ("reference", reference)):
        if image is not None and image.shape[:2] != ir.shape[:2]:
            raise PairMismatchError(
                f"The {name} image is {image.shape[1]}x{image.shape[0]} but its sources are "
                f"{ir.shape[1]}x{ir.shape[0]}"
            )


@torch.inference_mode()
def fuse_images(
    fuse_batch: FuseBatch,
    ir: Sequence[EightBit],
    vis: Sequence[EightBit],
    parameters: MethodParameters,
    device: torch.device | str = "cpu",
    channels: Literal[1, 3] = 1,
) -> list[EightBit]:
    """Fuse pairs of the same size with a loaded method.

    Args:
        fuse_batch: A built method.
        ir: Infrared images `(H, W)` or `(H, W, 3)` (reduced to luma).
        vis: Visible images, all `(H, W)` or all `(H, W, 3)`.
        parameters: The method's parameters; colour and output range are applied here.
        device: Device on which the method was built.
        channels: Channels of the images that the method fuses. A method of 3 gets R, G and B, and
            its result is reduced to luma if the visible images or the requested results are gray.

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
    sizes = {image.shape[:2] for image in (*ir, *vis)}
    if len(ir) != len(vis) or len(sizes) != 1 or len({image.ndim for image in vis}) != 1:
        raise InvalidValueError(
            f"Expected as many infrared as visible images, all of one size, but got {len(ir)} and "
            f"{len(vis)} of sizes {sorted(sizes)}"
        )
    infrared = _planes([colour.luma(image) for image in ir], device)
    keep_colour = vis[0].ndim == 3 and parameters.colour != "gray"
    if channels == 3:
        sources = [_planes(images, device).expand(-1, 3, -1, -1) for images in (ir, vis)]
        fused = apply_output_range(fuse_batch(torch.stack(sources)), parameters.output_range)
        if not keep_colour:
            fused = colour.rgb_to_ycbcr(fused)[0]
    elif not keep_colour:
        visible = _planes([colour.luma(image) for image in vis], device)
        fused = _fuse_gray(fuse_batch, infrared, visible, parameters)
    elif parameters.colour == "luma":
        y, cb, cr = colour.rgb_to_ycbcr(_planes(vis, device))
        fused = colour.ycbcr_to_rgb(_fuse_gray(fuse_batch, infrared, y, parameters), cb, cr)
    else:
        planes = _planes(vis, device).flatten(0, 1).unsqueeze(1)
        repeated = infrared.repeat_interleave(3, dim=0)
        fused = _fuse_gray(fuse_batch, repeated, planes, parameters).unflatten(0, (-1, 3))
        fused = fused.squeeze(2)
    rounded = (fused + 0.5).floor().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return [_to_image(planes) for planes in rounded]


def _fuse_gray(
    fuse_batch: FuseBatch, ir: Tensor, vis: Tensor, parameters: MethodParameters
) -> Tensor:
    return apply_output_range(fuse_batch(torch.stack((ir, vis))), parameters.output_range)


def _planes(images: Sequence[EightBit], device: torch.device | str) -> Tensor:
    """Stack images to `(B, C, H, W)` float32 in 0..255."""
    stacked = np.stack([image if image.ndim == 3 else image[..., None] for image in images])
    return torch.from_numpy(stacked).to(device).permute(0, 3, 1, 2).float()


def _to_image(planes: EightBit) -> EightBit:
    """Turn `(C, H, W)` into `(H, W)` or `(H, W, 3)`."""
    return planes[0] if len(planes) == 1 else np.ascontiguousarray(np.moveaxis(planes, 0, -1))
