"""Feature mutual information over all windows of feature maps, as one Triton kernel for CUDA.

Each thread compares a window of F with one of a source, and each program writes one sum. Of the
joint pdf J = phi * (increments of a Fréchet bound) + (1 - phi) * f_i * q_j, the increment in a cell
(i, j) is what the step i of F's cdf and the step j of the source's have in common, which is exactly
0 in most cells; for the lower bound, q is the source's pdf reversed. Steps of F come from the cache
again whenever they are needed, since registers have place for one window alone.

As in the code for other devices, differences within a window are float64, and what follows is
float32 up to the sums; the mean of an image is within 1e-6 of float64 throughout. Tests run the
kernel in Triton's interpreter and compile it for two generations of GPUs; it has not been measured
on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128
"""Windows of a program."""


def feature_information(maps: Tensor, noise: float, block: int = BLOCK) -> Tensor:
    """Compute the mean FMI of F with A and of F with B over all 3x3 windows.

    Args:
        maps: Feature maps of A, B and F: `(3, B, H, W)` float64.
        noise: Differences up to this value count as zero.
        block: Windows of a program, a power of two.

    Returns:
        `(B,)` float64.
    """
    batch, height, width = maps.shape[1:]
    windows = (height - 2) * (width - 2)
    sums = maps.new_empty(2, batch, triton.cdiv(windows, block))
    grid = sums.shape[2], 2 * batch
    with torch.cuda.device_of(maps):
        sum_information[grid](
            maps.contiguous(), sums, batch, height, width, noise, block, enable_fp_fusion=True
        )
    return sums.sum(dim=(0, 2)) / (2 * windows)


@triton.jit(do_not_specialize=["batch", "height", "width"])
def sum_information(maps, sums, batch, height, width, noise: tl.constexpr, BLOCK: tl.constexpr):
    """Sum the values of a block of windows of F with those of one source.

    Args:
        maps: `(3, B, H, W)` float64, A, B and F.
        sums: Written: `(2, B, blocks)` float64.
        batch: B.
        height: H.
        width: W.
        noise: Differences up to this value count as zero.
        BLOCK: Windows of a block.
    """
    plane = tl.program_id(1).to(tl.int64)
    window = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = window < (height - 2) * (width - 2)
    corner = tl.where(inside, window // (width - 2) * width + window % (width - 2), 0)
    f_maps = maps + (2 * batch + plane % batch) * (height * width) + corner
    a_maps = maps + plane * (height * width) + corner
    f, f_entropy, f_deviation = _describe(f_maps, width, noise)
    a, a_entropy, a_deviation = _describe(a_maps, width, noise)
    entropies = f_entropy + a_entropy
    correlation, difference = _correlate(f, a, width, noise)
    q, q_cdf = _accumulate(a, correlation < 0.0, width, noise)
    bound = _bound(f, q_cdf, width, noise)
    strength = tl.abs(correlation) * f_deviation * a_deviation
    phi = tl.where(bound > 0.0, strength / tl.where(bound > 0.0, bound, 1.0), 0.0)
    mutual = entropies - _joint_entropy(f, q, q_cdf, phi, width, noise)
    value = tl.where(entropies > 0.0, 2.0 * mutual / tl.where(entropies > 0.0, entropies, 1.0), 0.0)
    value = tl.where(inside, tl.where(difference > noise, value, 1.0), 0.0)
    block = plane * tl.num_programs(0) + tl.program_id(0)
    tl.store(sums + block, tl.sum(value.to(tl.float64)))


@triton.jit
def _load(corners, k, width):
    """Load value `k` of each window, counted column by column."""
    return tl.load(corners + k % 3 * width + k // 3)


@triton.jit
def _describe(corners, width, noise: tl.constexpr):
    """Return what `_probability` needs, entropy in bits, and the position's standard deviation."""
    low = _load(corners, 0, width)
    for k in range(1, 9):
        low = tl.minimum(low, _load(corners, k, width))
    total = tl.zeros_like(low).to(tl.float32)
    for k in range(9):
        above = _load(corners, k, width) - low
        total += tl.where(above > noise, above, 0.0).to(tl.float32)
    windows = corners, low, total
    entropy, mean, square = tl.zeros_like(total), tl.zeros_like(total), tl.zeros_like(total)
    for k in range(9):
        p = _probability(windows, k, width, noise)
        entropy -= _times_log(p)
        mean += (k - 4) * p
        square += (k - 4) * (k - 4) * p
    return windows, entropy, tl.sqrt(tl.maximum(square - mean * mean, 0.0))


@triton.jit
def _probability(windows, k, width, noise: tl.constexpr):
    """Return element `k` of each pdf: the same everywhere in flat windows."""
    corners, low, total = windows
    above = _load(corners, k, width) - low
    above = tl.where(above > noise, above, 0.0).to(tl.float32)
    # Rounded correctly, so that one peak has exactly 1, and its entropy is 0.
    p = tl.div_rn(above, tl.where(total > 0.0, total, 1.0))
    return tl.where(total > 0.0, p, 1.0 / 9.0)


@triton.jit
def _correlate(f, a, width, noise: tl.constexpr):
    """Return Pearson's correlation of pdfs, and the largest difference of the windows."""
    difference = tl.zeros_like(f[1])
    covariance, squares_f, squares_a = f[2] * 0.0, f[2] * 0.0, f[2] * 0.0
    for k in range(9):
        distance = tl.abs(_load(f[0], k, width) - _load(a[0], k, width))
        difference = tl.maximum(difference, distance)
        centred_f = _probability(f, k, width, noise) - 1.0 / 9.0
        centred_a = _probability(a, k, width, noise) - 1.0 / 9.0
        covariance += centred_f * centred_a
        squares_f += centred_f * centred_f
        squares_a += centred_a * centred_a
    squares = squares_f * squares_a
    correlation = covariance / tl.sqrt(tl.where(squares > 0.0, squares, 1.0))
    return tl.where(squares > 0.0, correlation, 0.0), difference


@triton.jit
def _accumulate(a, reverse, width, noise: tl.constexpr):
    """Return the 9 steps of the source's pdf, reversed where asked, and the 10 ends from 0 to 1."""
    end = tl.zeros_like(a[2])
    steps, ends = (), (end,)
    for k in tl.static_range(9):
        step = _probability(a, tl.where(reverse, 8 - k, k), width, noise)
        end += step
        steps = steps + (step,)
        ends = ends + (end if k < 8 else tl.zeros_like(end) + 1.0,)
    return steps, ends


@triton.jit
def _bound(f, q_cdf, width, noise: tl.constexpr):
    """Sum what the upper Fréchet bound adds to the product of both cdfs."""
    bound, f_cdf, q_sum = tl.zeros_like(f[2]), tl.zeros_like(f[2]), tl.zeros_like(f[2])
    for j in tl.static_range(1, 9):
        q_sum += q_cdf[j]
    for i in range(8):
        f_cdf += _probability(f, i, width, noise)
        bound -= f_cdf * q_sum
        for j in tl.static_range(1, 9):
            bound += tl.minimum(f_cdf, q_cdf[j])
    return bound


@triton.jit
def _joint_entropy(f, q, q_cdf, phi, width, noise: tl.constexpr):
    joint, end = tl.zeros_like(phi), tl.zeros_like(phi)
    for i in range(9):
        step, start = _probability(f, i, width, noise), end
        end = tl.where(i < 8, start + step, 1.0)
        product = (1.0 - phi) * step
        for j in tl.static_range(9):
            common = tl.minimum(end, q_cdf[j + 1]) - tl.maximum(start, q_cdf[j])
            joint -= _times_log(phi * tl.maximum(common, 0.0) + product * q[j])
    return joint


@triton.jit
def _times_log(values):
    """Multiply x by log2 |x|, 0 at 0: the real part where a cell is slightly negative."""
    size = tl.abs(values)
    return values * tl.log2(tl.where(size > 1e-37, size, 1.0))
