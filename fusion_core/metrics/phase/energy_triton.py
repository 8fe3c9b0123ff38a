"""Phase congruency of one orientation, pixel by pixel, as one Triton kernel for CUDA.

The formulas are those of `energy`, whose functions Triton cannot call. All is float64. Tests run
the kernel in Triton's interpreter and compile it for two generations of GPUs; it has not been
measured on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusion_core.metrics.phase import energy

BLOCK = 256
"""Pixels of a program."""
CONSTANTS = {
    "epsilon": energy.EPSILON,
    "cutoff": energy.WIDTH_CUTOFF,
    "gain": energy.WIDTH_GAIN,
    "scales": energy.SCALES,
}


def add_orientation(
    responses: Tensor, noise: Tensor, weights: tuple[float, float, float], sums: Tensor
) -> Tensor:
    """Add the energy of one orientation to sums.

    Args:
        responses: Of each scale: `(4, H, W)` complex128.
        noise: Energy of noise alone: a number, float64.
        weights: Of the squared share of energy in the first, second and mixed moment.
        sums: Energy, amplitude, and the three moments, which are increased: `(5, H, W)` float64.

    Returns:
        The sums.
    """
    pixels = sums[0].numel()
    with torch.cuda.device_of(sums):
        add_energy[(triton.cdiv(pixels, BLOCK),)](
            torch.view_as_real(responses.contiguous()), noise, *weights, sums, pixels,
            **CONSTANTS, BLOCK=BLOCK, enable_fp_fusion=True,
        )  # fmt: skip
    return sums


@triton.jit(do_not_specialize=["pixels"])
def add_energy(
    responses,
    noise,
    xx: tl.float64,
    yy: tl.float64,
    xy: tl.float64,
    sums,
    pixels,
    epsilon: tl.constexpr,
    cutoff: tl.constexpr,
    gain: tl.constexpr,
    scales: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add the energy of a block of pixels to sums.

    Args:
        responses: `(4, N, 2)` float64, even and odd ones.
        noise: One float64.
        xx: Weight in the first moment.
        yy: In the second.
        xy: In the mixed one.
        sums: Increased: `(5, N)` float64.
        pixels: N.
        epsilon: Keeps divisors from being 0.
        cutoff: Share of the scales that is wide enough.
        gain: Steepness of the weight of the width.
        scales: Number of scales.
        BLOCK: Pixels of a block.
    """
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    even, odd = (), ()
    e = tl.zeros([BLOCK], tl.float64)
    o, total, largest, deviation = e, e, e, e
    for scale in tl.static_range(4):
        place = responses + 2 * (pixel + scale * pixels.to(tl.int64))
        real, imaginary = tl.load(place, inside, 0.0), tl.load(place + 1, inside, 0.0)
        amplitude = tl.sqrt(real * real + imaginary * imaginary)
        even, odd = even + (real,), odd + (imaginary,)
        e += real
        o += imaginary
        total += amplitude
        largest = tl.maximum(largest, amplitude)
    for scale in tl.static_range(4):
        deviation += tl.abs(even[scale] * o - odd[scale] * e)
    square = e * e + o * o
    local = (square - deviation) / (tl.sqrt(square) + epsilon)
    width = total / ((largest + epsilon) * scales)
    local = tl.maximum(local - tl.load(noise), 0.0) / (1.0 + tl.exp((cutoff - width) * gain))
    share = tl.where(total > 0.0, local / tl.where(total > 0.0, total, 1.0), 0.0)
    square = share * share
    _add(sums, pixel, inside, local)
    _add(sums + pixels, pixel, inside, total)
    _add(sums + 2 * pixels.to(tl.int64), pixel, inside, xx * square)
    _add(sums + 3 * pixels.to(tl.int64), pixel, inside, yy * square)
    _add(sums + 4 * pixels.to(tl.int64), pixel, inside, xy * square)


@triton.jit
def _add(sums, pixel, inside, values):
    tl.store(sums + pixel, tl.load(sums + pixel, inside, 0.0) + values, inside)
