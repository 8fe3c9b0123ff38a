"""The papers' MS_SSIM once more: the MEF-SSIM of Ma, Zeng & Wang 2015, window by window."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Block = NDArray[np.float64]

CANCELLED = 1e-6
"""A reference block smaller than this share of its terms is their rounding, and counts as 0."""

EPS = float(np.finfo(np.float64).eps)
WINDOW = 11
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001)
CONSTANT = (0.03 * 255) ** 2

_OFFSETS = np.arange(WINDOW) - WINDOW // 2
_GAUSSIAN = np.exp(-(_OFFSETS[:, None] ** 2 + _OFFSETS[None, :] ** 2) / (2 * 1.5**2))
_GAUSSIAN /= _GAUSSIAN.sum()


def ms_ssim(ir: Gray, vis: Gray, fused: Gray) -> float:
    """Product over three scales of the mean MEF-SSIM quality to the power of the scale's weight.

    NaN where the third scale holds no 11x11 window, and where a scale's mean quality is
    negative: its power is no real number.
    """
    images = [image.astype(np.float64) for image in (ir, vis, fused)]
    product = 1.0
    for weight in SCALE_WEIGHTS:
        if min(images[0].shape) < WINDOW:
            return math.nan
        quality = _mean_quality(*images)
        if quality < 0:
            return math.nan
        product *= quality ** (weight / sum(SCALE_WEIGHTS))
        images = [_halve(image) for image in images]
    return product


def _halve(image: Block) -> Block:
    """Average every other pixel with its right and lower neighbours, the border repeated."""
    height, width = image.shape
    padded = np.pad(image, ((0, 1), (0, 1)), mode="symmetric")
    return np.array(
        [
            [padded[row : row + 2, column : column + 2].mean() for column in range(0, width, 2)]
            for row in range(0, height, 2)
        ]
    )


def _mean_quality(ir: Block, vis: Block, fused: Block) -> float:
    height, width = ir.shape
    values = []
    for row in range(height - WINDOW + 1):
        for column in range(width - WINDOW + 1):
            block = np.s_[row : row + WINDOW, column : column + WINDOW]
            values.append(_similarity(_reference_block(ir[block], vis[block]), fused[block]))
    return math.fsum(values) / len(values)


def _reference_block(ir: Block, vis: Block) -> Block:
    """Return the block that F is held against; it stays zero where its terms cancel.

    Energies are the norms of the centred blocks, which is 121·var in exact arithmetic, so a
    flat block has the energy 0.001 and no rounding noise of E[x²] - E[x]².
    """
    centred = [_centre(ir), _centre(vis)]
    norms = [_norm(block) for block in centred]
    consistency = (_norm(_centre(ir + vis)) + EPS) / (sum(norms) + EPS)
    if consistency > 1:
        consistency = 1 - EPS
    power = min(math.tan(math.pi / 2 * consistency), 10)
    energies = [norm + 0.001 for norm in norms]
    weights = [(energy / WINDOW) ** power + EPS for energy in energies]
    reference = np.zeros_like(ir)
    for block, energy, weight in zip(centred, energies, weights, strict=True):
        reference += weight / sum(weights) * block / energy
    norm = _norm(reference)
    terms = sum(
        weight / sum(weights) * block_norm / energy
        for block_norm, energy, weight in zip(norms, energies, weights, strict=True)
    )
    return 0 * reference if norm <= CANCELLED * terms else reference / norm * max(energies)


def _similarity(reference: Block, fused: Block) -> float:
    r, f = (block - (_GAUSSIAN * block).sum() for block in (reference, fused))
    top = 2 * (_GAUSSIAN * r * f).sum() + CONSTANT
    return float(top / ((_GAUSSIAN * r * r).sum() + (_GAUSSIAN * f * f).sum() + CONSTANT))


def _centre(block: Block) -> Block:
    return block - float(block.sum()) / block.size


def _norm(block: Block) -> float:
    return math.sqrt((block * block).sum())
