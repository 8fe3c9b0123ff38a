"""Mutual information of two 3x3 windows as distributions (Haghighat & Razian 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Windows(NamedTuple):
    """N windows of 3x3 values as distributions over the positions 1..9."""

    pdf: Tensor
    """`(9, N)`."""
    cdf: Tensor
    """`(8, N)`: without the last value, which is 1."""
    entropy: Tensor
    """`(N,)`, nats."""
    deviation: Tensor
    """`(N,)`: standard deviation of the position 1..9."""


def describe_windows(
    values: Tensor, noise: float = 0.0, dtype: torch.dtype = torch.float64
) -> Windows:
    """Scale windows to 0..1 by their own range (ones if flat) and to the sum 1.

    Args:
        values: `(9, N)` float64, each window column by column.
        noise: Differences up to this value count as zero.
        dtype: Data type of the result; differences within a window are taken in float64.
    """
    low, high = values.aminmax(dim=0)
    above, span = (values - low).to(dtype), (high - low).to(dtype)
    scaled = torch.where(above > noise, above / span, 0.0).masked_fill_(span <= noise, 1.0)
    pdf = scaled.div_(scaled.sum(dim=0))
    entropy = -torch.xlogy(pdf, pdf).sum(dim=0)
    steps = torch.arange(-4.0, 5.0, dtype=dtype, device=pdf.device).unsqueeze(1)
    mean, square = (pdf * steps).sum(dim=0), (pdf * steps * steps).sum(dim=0)
    deviation = (square - mean * mean).clamp_min_(0.0).sqrt_()
    return Windows(pdf, pdf[:8].cumsum(dim=0), entropy, deviation)


def window_information(a: Windows, f: Windows) -> Tensor:
    """Compute 2 * mi / (H(a) + H(f)) of pairs of windows that are not identical.

    The joint pdf is a mixture of the product of both pdfs and of the Fréchet bound on their side of
    the correlation, with the weight that gives their correlation. The bound is the coupling of
    equal quantiles (of f and reversed a for the lower one). The 8 inner steps of both cdfs cut 0..1
    into 17 pieces, each in one cell; in all other cells the bound adds nothing.

    Args:
        a: Windows of a source.
        f: As many windows of F.

    Returns:
        `(N,)`, of the dtype that the windows are described in.
    """
    centred_a, centred_f = a.pdf - 1.0 / 9.0, f.pdf - 1.0 / 9.0
    squares = centred_a.square().sum(dim=0) * centred_f.square().sum(dim=0)
    covariance = (centred_a * centred_f).sum(dim=0)
    correlation = torch.where(squares > 0.0, covariance / squares.sqrt(), 0.0)
    q = _reverse_where(correlation < 0.0, a)
    bound = -f.cdf.sum(dim=0) * q.cdf.sum(dim=0)
    for step in f.cdf:
        bound += torch.minimum(step, q.cdf).sum(dim=0)
    weight = correlation.abs() * f.deviation * a.deviation / bound
    phi = torch.where(bound > 0.0, weight, 0.0)
    rest = 1.0 - phi
    entropies = f.entropy + a.entropy
    joint = rest * entropies - _times_log(rest)
    joint += _cells(f, q, phi, rest, right=False)
    joint += _cells(q, f, phi, rest, right=True)
    last = 1.0 - torch.maximum(f.cdf[-1], q.cdf[-1])
    joint += _correction(f.pdf[-1], q.pdf[-1], last, phi, rest)
    return torch.where(entropies > 0.0, 2.0 * (entropies - joint) / entropies, 0.0)


def _reverse_where(negative: Tensor, a: Windows) -> Windows:
    pdf = torch.where(negative, a.pdf.flip(0), a.pdf)
    return a._replace(pdf=pdf, cdf=pdf[:8].cumsum(dim=0))


def _cells(x: Windows, y: Windows, phi: Tensor, rest: Tensor, *, right: bool) -> Tensor:
    """Correct the joint entropy in the cells whose piece of 0..1 ends at a step of x's cdf.

    Args:
        x: The one whose steps end the pieces.
        y: The other.
        phi: Weight of the bound.
        rest: Weight of the product, 1 - phi.
        right: Whether a step of both counts as y's end too (it must end one piece only).
    """
    total, start = torch.zeros_like(phi), torch.zeros_like(phi)
    y_cdf = torch.cat((torch.zeros_like(y.cdf[:1]), y.cdf))
    for i, end in enumerate(x.cdf):
        passed = y.cdf <= end if right else y.cdf < end
        index = passed.sum(dim=0, keepdim=True)
        begin = torch.maximum(start, y_cdf.gather(0, index)[0])
        total += _correction(x.pdf[i], y.pdf.gather(0, index)[0], end - begin, phi, rest)
        start = end
    return total


def _correction(x_pdf: Tensor, y_pdf: Tensor, mass: Tensor, phi: Tensor, rest: Tensor) -> Tensor:
    """Replace a cell's -p log p of the product alone by that of the mixture."""
    product = (rest * x_pdf).mul_(y_pdf)
    cell = torch.addcmul(product, phi, mass)
    return _times_log(product).sub_(_times_log(cell))


def _times_log(values: Tensor) -> Tensor:
    """Multiply x by log |x|, 0 at 0: the real part where a cell is slightly negative."""
    return torch.xlogy(values, values.abs())
