"""Joint sparse representation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.errors import WeightsError
from fusion_core.methods.sources import round_gray, split_pair
from fusion_core.methods.sparse_coding import JointDictionary, learn_dictionary, sparse_codes
from fusion_core.methods.specs.jsr import Common, JsrParameters
from fusion_core.networks import Weights, load_weights

_SIDE = 7
_LENGTH = _SIDE * _SIDE
ATOMS = 256
_COUNT = 16
"""Atoms of a pair of patches."""
_TRAINING_STRIDE = 3


class JointDictionaryWeights(torch.nn.Module):
    """The atoms of a dictionary of 7x7 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.dictionary = torch.nn.Parameter(torch.zeros(_LENGTH, ATOMS, dtype=torch.float64))


@dataclass(frozen=True, slots=True)
class PatchCodes:
    """Codes of all patches: `(H', W', 16)`."""

    columns: Tensor
    coefficients: Tensor

    def of_block(self, block: int) -> Tensor:
        """Return the coefficients of the common atoms (0), or of one source (1 and 2)."""
        inside = self.columns // ATOMS == block
        return torch.where(inside, self.coefficients, 0.0)


Activity = Callable[[PatchCodes, int], Tensor]
"""Activity of the patches `(H', W')` of a source, which is block 1 or 2 of the codes."""


def jsr(
    sources: Tensor,
    dictionary: Tensor | None = None,
    *,
    common: Common = "scaled",
    iterations: int = 50,
    seed: int = 0,
) -> Tensor:
    """Weight what is in one source alone by its activity, and keep what both have in common.

    Zhang, Fu, Li & Zou, "Dictionary learning method for joint sparse representation-based image
    fusion", Optical Engineering, 2013, https://doi.org/10.1117/1.OE.52.5.057006. The details are
    those of the published code: patches that overlap are averaged one after the other, so that the
    last one counts half.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        dictionary: Atoms `(49, 256)` of unit norm, of 7x7 patches in column-major order; by default
            one is learned from each pair.
        common: `published` adds the code that both sources have in common without the factor that
            the joint dictionary gave it, `scaled` with it.
        iterations: Iterations of K-SVD, which learns the dictionary of a pair.
        seed: Seed of its first dictionary.

    Returns:
        `(B, 1, H, W)` float32, whole gray levels.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Deviations: equal correlations are decided by the lowest column instead of by rounding, so that
    images are the same on every machine, but differ from published ones (by 0.2 gray levels on
    average with the published dictionaries). Images with fewer than 7 rows or columns are continued
    by their border.

    Example:
        >>> jsr(torch.full((2, 1, 1, 9, 9), 51.0), cosine_dictionary()).shape
        torch.Size([1, 1, 9, 9])
    """
    images = split_pair(sources, "jsr", scale=255.0)
    learn = partial(pair_dictionary, iterations=iterations, seed=seed)
    return fuse_joint_codes(images, learn if dictionary is None else dictionary, common, activity)


def fuse_joint_codes(
    images: tuple[Tensor, Tensor],
    dictionary: Tensor | Callable[[Tensor, Tensor], Tensor],
    common: Common,
    activity: Activity,
) -> Tensor:
    """Fuse sources whose codes are weighted by their activity.

    Args:
        images: Infrared and visible images, `(B, 1, H, W)` float64 in 0..1.
        dictionary: Atoms of all pairs, or a function that learns those of a pair.
        common: As in `jsr`.
        activity: The activity of the patches of a source.

    Returns:
        `(B, 1, H, W)` float32, whole gray levels.
    """
    height, width = images[0].shape[-2:]
    fused = []
    for pair in torch.stack(images, dim=1):
        infrared, visible = _at_least_one_patch(pair)[:, 0]
        atoms = dictionary if isinstance(dictionary, Tensor) else dictionary(infrared, visible)
        fused.append(_fuse(infrared, visible, atoms, common, activity))
    return round_gray(255.0 * torch.stack(fused).unsqueeze(1))[..., :height, :width].float()


def activity(codes: PatchCodes, block: int) -> Tensor:
    """Return the sum of the magnitudes of the coefficients of each patch."""
    return codes.of_block(block).abs().sum(dim=-1)


def _at_least_one_patch(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    border = (0, max(0, _SIDE - width), 0, max(0, _SIDE - height))
    return functional.pad(images, border, mode="replicate") if any(border) else images


def _fuse(
    infrared: Tensor, visible: Tensor, dictionary: Tensor, common: Common, activity: Activity
) -> Tensor:
    codes = _code(infrared, visible, dictionary)
    active = [activity(codes, block) for block in (1, 2)]
    largest = torch.maximum(*active)
    weights = [torch.where(largest > 0.0, value / largest, 0.0) for value in active]
    coefficients = codes.of_block(0) * (math.sqrt(0.5) if common == "scaled" else 1.0)
    for block, weight in zip((1, 2), weights, strict=True):
        coefficients += weight.unsqueeze(-1) * codes.of_block(block)
    patches: Tensor = functional.embedding_bag(
        (codes.columns % ATOMS).flatten(0, 1),
        dictionary.T.contiguous(),
        per_sample_weights=coefficients.flatten(0, 1),
        mode="sum",
    )
    return _overlap(patches.view(*largest.shape, _LENGTH), *infrared.shape)


def _patches(image: Tensor) -> Tensor:
    """Return all patches of an image, `(H', W', 49)`, in column-major order."""
    return image.unfold(0, _SIDE, 1).unfold(1, _SIDE, 1).transpose(2, 3).flatten(2)


def _code(infrared: Tensor, visible: Tensor, dictionary: Tensor) -> PatchCodes:
    patches = torch.cat((_patches(infrared), _patches(visible)), dim=-1)
    columns, coefficients = sparse_codes(patches.flatten(0, 1), JointDictionary(dictionary), _COUNT)
    shape = (*patches.shape[:2], _COUNT)
    return PatchCodes(columns.view(shape), coefficients.view(shape))


def _overlap(patches: Tensor, height: int, width: int) -> Tensor:
    """Put patches into an image, of which each takes half of what was there before."""
    rows, columns = patches.shape[:2]
    image = patches.new_zeros(height, width)
    # In row-major order of the patches, a pixel is first in the lower right corner of a patch.
    for down in reversed(range(_SIDE)):
        for right in reversed(range(_SIDE)):
            part = image[down : down + rows, right : right + columns]
            part.add_(patches[..., right * _SIDE + down]).mul_(0.5)
    return image


def cosine_dictionary() -> Tensor:
    """Return the overcomplete cosine dictionary, `(49, 256)` float64.

    >>> cosine_dictionary().shape
    torch.Size([49, 256])
    """
    positions = torch.arange(_SIDE, dtype=torch.float64).unsqueeze(1) + 0.5
    number = math.isqrt(ATOMS)
    waves = torch.cos(torch.pi * torch.arange(number, dtype=torch.float64) * positions / number)
    waves[:, 1:] -= waves[:, 1:].mean(dim=0)
    waves /= waves.norm(dim=0)
    return torch.kron(waves, waves)


def pair_dictionary(infrared: Tensor, visible: Tensor, *, iterations: int, seed: int) -> Tensor:
    """Learn the dictionary of a pair from every third patch of both images.

    Args:
        infrared: `(H, W)` in 0..1, at least 7x7.
        visible: `(H, W)` in 0..1.
        iterations: Iterations of K-SVD.
        seed: Seed of the first dictionary.

    Returns:
        `(49, 256)` float64.
    """
    patches = [
        _patches(image)[::_TRAINING_STRIDE, ::_TRAINING_STRIDE].flatten(0, 1)
        for image in (infrared, visible)
    ]
    return learn_dictionary(torch.cat(patches), ATOMS, _COUNT, iterations, seed)


def build_jsr(
    parameters: JsrParameters, weights: Weights | None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches.

    Raises:
        WeightsError: The file does not hold a dictionary.
    """
    return partial(jsr, **joint_arguments(parameters, weights, device))


def joint_arguments(
    parameters: JsrParameters, weights: Weights | None, device: torch.device
) -> dict[str, Any]:
    """Return the arguments of `jsr` and `jsrsd` that follow from the parameters.

    Raises:
        WeightsError: The file does not hold a dictionary, or none is needed.
    """
    return {
        "dictionary": _fixed_dictionary(parameters, weights, device),
        "common": parameters.common,
        "iterations": parameters.iterations,
        "seed": parameters.seed,
    }


def _fixed_dictionary(
    parameters: JsrParameters, weights: Weights | None, device: torch.device
) -> Tensor | None:
    """Return the dictionary of all pairs, None if each pair has its own.

    Raises:
        WeightsError: The file does not hold a dictionary, or none is needed.
    """
    if parameters.dictionary == "cosine":
        if weights is not None:
            raise WeightsError("dictionary=cosine is computed and takes no weights")
        return cosine_dictionary().to(device)
    if weights is None:
        return None
    module = JointDictionaryWeights()
    load_weights(module, weights)
    atoms: Tensor = module.dictionary.detach().to(device)
    atoms /= atoms.norm(dim=0).clamp(min=1e-12)
    return atoms
