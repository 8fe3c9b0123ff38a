"""Mutual information of two 3x3 windows as distributions (Haghighat & Razian 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Windows(NamedTuple):
    """3x3 windows as distributions over 1..9, each quantity of N windows."""

    values: Tensor
    """`(9, N)`: what the windows hold, column by column."""
    pdf: Tensor
    """`(9, N)`."""
    cdf: Tensor
    """`(8, N)`: without the last, which is 1."""
    log: Tensor
    """`(9, N)`: log2 of the pdf, 0 where the pdf is 0."""
    entropy: Tensor
    """`(N,)`, bits."""
    deviation: Tensor
    """`(N,)`: standard deviation of the position 1..9."""


def describe_windows(
    values: Tensor, noise: float = 0.0, dtype: torch.dtype = torch.float64
) -> Windows:
    """Scale windows to 0..1 by their own range (ones if flat) and to the sum 1.

    Args:
        values: `(9, N)` float64, each window column by column.
        noise: Differences up to this count as none.
        dtype: Of all that follows the scaling.
    """
    low, high = values.aminmax(dim=0)
    above, span = values - low, high - low
    scaled = torch.where(span > noise, torch.where(above > noise, above / span, 0.0), 1.0)
    scaled = scaled.to(dtype)
    pdf = scaled / scaled.sum(dim=0)
    log = _log2(pdf)
    steps = torch.arange(-4.0, 5.0, dtype=dtype, device=pdf.device).unsqueeze(1)
    mean, square = (pdf * steps).sum(dim=0), (pdf * steps * steps).sum(dim=0)
    deviation = (square - mean * mean).clamp_min_(0.0).sqrt_()
    return Windows(values, pdf, pdf[:8].cumsum(dim=0), log, -(pdf * log).sum(dim=0), deviation)


def window_information(a: Windows, f: Windows, noise: float = 0.0) -> Tensor:
    """Compute 2 * mi / (H(a) + H(f)) of pairs of windows, 1 for identical windows.

    The joint pdf is a mixture of the product of both pdfs and of the Fréchet bound on their side of
    the correlation, with the weight that gives their correlation. The bound is the coupling of
    equal quantiles (of f and reversed a for the lower one). The 8 inner steps of both cdfs cut 0..1
    into 17 pieces, each in one cell; in all other cells the bound adds nothing.

    Args:
        a: Windows of a source.
        f: As many windows of F.
        noise: Differences up to this count as none.

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
    log_rest = _log2(1.0 - phi)
    entropies = f.entropy + a.entropy
    joint = -(1.0 - phi) * (log_rest - entropies)
    joint += _cells(f, q, phi, log_rest, right=False)
    joint += _cells(q, f, phi, log_rest, right=True)
    last = 1.0 - torch.maximum(f.cdf[-1], q.cdf[-1])
    joint += _correction(f.pdf[-1], q.pdf[-1], f.log[-1] + q.log[-1], last, phi, log_rest)
    value = torch.where(entropies > 0.0, 2.0 * (entropies - joint) / entropies, 0.0)
    identical = ((a.values - f.values).abs() <= noise).all(dim=0)
    return torch.where(identical, 1.0, value)


def _reverse_where(negative: Tensor, a: Windows) -> Windows:
    pdf = torch.where(negative, a.pdf.flip(0), a.pdf)
    cdf = torch.where(negative, 1.0 - a.cdf.flip(0), a.cdf)
    log = torch.where(negative, a.log.flip(0), a.log)
    return a._replace(pdf=pdf, cdf=cdf, log=log)


def _cells(x: Windows, y: Windows, phi: Tensor, log_rest: Tensor, *, right: bool) -> Tensor:
    """Correct the joint entropy in the cells whose piece of 0..1 ends at a step of x's cdf.

    Args:
        x: The one whose steps end the pieces.
        y: The other.
        phi: Weight of the bound.
        log_rest: log2 |1 - phi|.
        right: Whether a step of both counts as y's end too (it must end one piece only).
    """
    total = torch.zeros_like(phi)
    start = torch.zeros_like(phi)
    y_cdf = torch.cat((torch.zeros_like(y.cdf[:1]), y.cdf))
    for i, end in enumerate(x.cdf):
        passed = y.cdf <= end if right else y.cdf < end
        index = passed.sum(dim=0, keepdim=True)
        begin = torch.maximum(start, y_cdf.gather(0, index)[0])
        y_pdf, y_log = y.pdf.gather(0, index)[0], y.log.gather(0, index)[0]
        total += _correction(x.pdf[i], y_pdf, x.log[i] + y_log, end - begin, phi, log_rest)
        start = end
    return total


def _correction(
    x_pdf: Tensor, y_pdf: Tensor, logs: Tensor, mass: Tensor, phi: Tensor, log_rest: Tensor
) -> Tensor:
    """Replace a cell's -p log2 p of the product alone by that of the mixture."""
    product = (1.0 - phi) * x_pdf * y_pdf
    cell = phi * mass + product
    return product * (logs + log_rest) - cell * _log2(cell)


def _log2(values: Tensor) -> Tensor:
    """log2 |x|, and 0 at 0."""
    size = values.abs()
    return torch.where(size > torch.finfo(size.dtype).tiny, size, 1.0).log2_()
