"""Joint sparse representation with saliency detection."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fusion_core.methods.jsr import (
    ATOMS,
    PatchCodes,
    activity,
    fuse_joint_codes,
    joint_arguments,
    pair_dictionary,
)
from fusion_core.methods.sources import split_pair
from fusion_core.methods.specs.jsr import Common, JsrParameters
from fusion_core.networks import Weights

_REACH = 2
"""Distance to which neighbouring patches count for the saliency."""
_SALIENCY, _ACTIVITY = 0.4, 0.6
_COMPARED = 32 * 1024
"""Patches whose codes are compared at the same time."""


def jsrsd(
    sources: Tensor,
    dictionary: Tensor | None = None,
    *,
    common: Common = "scaled",
    iterations: int = 50,
    seed: int = 0,
) -> Tensor:
    """Weight what is in one source alone by its activity and its saliency.

    Liu, Qi & Ding, "Infrared and visible image fusion method based on saliency detection in sparse
    domain", Infrared Physics & Technology, 2017, https://doi.org/10.1016/j.infrared.2017.04.018. A
    patch is salient whose code differs from those of its 24 neighbours. Apart from that, images are
    fused as by `jsr`, with its arguments and its deviations.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        dictionary: Atoms `(49, 256)`.
        common: Scale of the code that both sources have in common.
        iterations: Iterations of K-SVD.
        seed: Seed of its first dictionary.

    Returns:
        `(B, 1, H, W)` float32, whole gray levels.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> from fusion_core.methods.jsr import cosine_dictionary
        >>> jsrsd(torch.full((2, 1, 1, 9, 9), 51.0), cosine_dictionary()).shape
        torch.Size([1, 1, 9, 9])
    """
    images = split_pair(sources, "jsrsd", scale=255.0)
    learn = partial(pair_dictionary, iterations=iterations, seed=seed)
    return fuse_joint_codes(
        images, learn if dictionary is None else dictionary, common, salient_activity
    )


def salient_activity(codes: PatchCodes, block: int) -> Tensor:
    """Return the activity, blended with the saliency where a patch has neighbours on all sides."""
    blended = activity(codes, block)
    height, width = blended.shape
    if min(height, width) <= 2 * _REACH:
        return blended
    rows = max(1, _COMPARED // width)
    for top in range(_REACH, height - _REACH, rows):
        bottom = min(top + rows, height - _REACH)
        saliency = _saliency(_dense(codes, block, top - _REACH, bottom + _REACH))
        part = blended[top:bottom, _REACH : width - _REACH]
        part.copy_(_SALIENCY * saliency + _ACTIVITY * part)
    return blended


def _dense(codes: PatchCodes, block: int, top: int, bottom: int) -> Tensor:
    """Return the codes of a source in some rows with a value for each atom."""
    coefficients = codes.of_block(block)[top:bottom]
    dense = coefficients.new_zeros(*coefficients.shape[:2], ATOMS)
    return dense.scatter_add_(2, codes.columns[top:bottom] % ATOMS, coefficients)


def _saliency(dense: Tensor) -> Tensor:
    """Return the saliency of codes from those around them, without the outer rows and columns."""
    height, width = dense.shape[:2]
    total = dense.new_zeros(height, width)
    for down in range(_REACH + 1):
        for right in range(-_REACH if down else 1, _REACH + 1):
            first, second = (
                (slice(0, height - down), slice(max(0, -right), width - max(0, right))),
                (slice(down, height), slice(max(0, right), width - max(0, -right))),
            )
            distance = torch.linalg.vector_norm(dense[first] - dense[second], dim=-1)
            distance /= 1.0 + 2.0 * math.hypot(down, right)
            total[first] += distance
            total[second] += distance
    inner = total[_REACH : height - _REACH, _REACH : width - _REACH]
    return 1.0 - (-inner / ((2 * _REACH + 1) ** 2 - 1)).exp()


def build_jsrsd(
    parameters: JsrParameters, weights: Weights | None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches.

    Raises:
        WeightsError: The file does not hold a dictionary.
    """
    return partial(jsrsd, **joint_arguments(parameters, weights, device))
