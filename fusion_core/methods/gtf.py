"""Gradient transfer and total variation minimisation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fusion_core.methods.sources import divide, split_pair
from fusion_core.methods.specs.gtf import GtfParameters

_ROUNDS = 5
_MOST_ITERATIONS = 500
_BINS = 1000
_SMALLEST_DATA = 0.05
_SMALLEST_GRADIENTS = 0.01
"""Shares of the residuals and of the gradients that count as the smallest."""
_EPSILON = 2.0**-52

Operator = Callable[[Tensor], Tensor]


def gtf(sources: Tensor, *, weight: float = 4.0) -> Tensor:
    """Keep the infrared gray levels and the visible gradients.

    Ma, Chen, Li & Huang, "Infrared and visible image fusion via gradient transfer and total
    variation minimization", Information Fusion, 2016, https://doi.org/10.1016/j.inffus.2016.02.001.
    The difference U of the fused from the visible image minimises `sum |U - (I - V)| + weight sum
    |grad U|` by iteratively reweighted norms (Rodriguez & Wohlberg, "Efficient minimization method
    for a generalized total variation functional", IEEE Transactions on Image Processing, 2009,
    https://doi.org/10.1109/TIP.2008.2008420). As in the published code, it stops after five rounds,
    before it has converged, so that its thresholds and stopping tests are part of the method. Each
    image of a batch stops by its own test.

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        weight: lambda, the weight of the gradients.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> gtf(torch.tensor([9.0, 5.0]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 4, 4)).unique()
        tensor([9.])
    """
    infrared, visible = split_pair(sources, "gtf", scale=255.0)
    target = infrared - visible
    difference = target
    for number in range(_ROUNDS):
        data = _data_weights(difference - target, first=number == 0)
        gradients = _gradient_weights(difference)
        difference = _solve_round(difference, target, data, gradients, weight)
    return (255.0 * (difference + visible)).float()


def _solve_round(
    difference: Tensor, target: Tensor, data: Tensor, gradients: Tensor, weight: float
) -> Tensor:
    """Solve the weighted least squares of one round for `difference / data`."""

    def operator(values: Tensor) -> Tensor:
        scaled = data * values
        divergence = _transposed(gradients * _difference(scaled, -1), -1)
        divergence += _transposed(gradients * _difference(scaled, -2), -2)
        return values + weight * data * divergence

    return data * conjugate_gradients(operator, target / data, difference / data)


def conjugate_gradients(operator: Operator, target: Tensor, start: Tensor) -> Tensor:
    """Solve a symmetric positive definite system, for each image of a batch by itself.

    The iteration stops at a fifth of the relative residual at the start, and the solution of an
    image stands still once it has stopped.
    """
    dims = (1, 2, 3)
    solution, residual = start, target - operator(start)
    norm = target.square().sum(dim=dims, keepdim=True).sqrt()
    power = residual.square().sum(dim=dims, keepdim=True)
    tolerance = (divide(power.sqrt(), norm, 0.0) / 5.0).clamp(max=1.0 - _EPSILON)
    direction = residual
    for _ in range(_MOST_ITERATIONS):
        active = power.sqrt() > tolerance * norm
        if not active.any():
            break
        image = operator(direction)
        step = divide(power, (direction * image).sum(dim=dims, keepdim=True), 0.0)
        step = torch.where(active, step, 0.0)
        solution = solution + step * direction
        residual = residual - step * image
        new_power = residual.square().sum(dim=dims, keepdim=True)
        direction = torch.where(
            active, residual + divide(new_power, power, 0.0) * direction, direction
        )
        power = torch.where(active, new_power, power)
    return solution


def _data_weights(residual: Tensor, *, first: bool) -> Tensor:
    if first:
        return torch.full_like(residual, 2.0 * math.sqrt(0.1))
    residual = residual.abs()
    centers, place = _quantile_bin(residual, _SMALLEST_DATA)
    smallest = centers.gather(1, (place + 1).clamp(max=_BINS - 1)).view(-1, 1, 1, 1)
    floor = torch.maximum(residual, smallest)
    # A residual of 0 everywhere has no smallest value above 0.
    return math.sqrt(0.5) * torch.where(floor > 0.0, floor, _EPSILON).sqrt()


def _gradient_weights(difference: Tensor) -> Tensor:
    squares = _difference(difference, -1) ** 2 + _difference(difference, -2) ** 2
    centers, place = _quantile_bin(squares, _SMALLEST_GRADIENTS)
    smallest = centers.gather(1, place)
    above = centers.gather(1, (place + 1).clamp(max=_BINS - 1))
    smallest = torch.where(smallest > 0.0, smallest, above).view(-1, 1, 1, 1)
    floor = torch.maximum(squares, smallest)
    return 2.0 / torch.where(floor > 0.0, floor, _EPSILON).sqrt()


def _quantile_bin(values: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the centers of a histogram, and the first bin up to which a share is exceeded.

    The centers of the 1000 bins run from the smallest to the largest value; a value in the middle
    between two of them belongs to the lower bin.
    """
    flat = values.flatten(1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    step = (high - low) / (_BINS - 1)
    centers = low + step * torch.arange(_BINS, dtype=flat.dtype, device=flat.device)
    bins = (divide(flat - low, step, 0.0) - 0.5).ceil().long().clamp(0, _BINS - 1)
    counts = torch.zeros_like(centers).scatter_add_(1, bins, torch.ones_like(flat))
    exceeded = counts.cumsum(dim=1) / flat.shape[1] > share
    return centers, exceeded.double().argmax(dim=1, keepdim=True)


def _difference(values: Tensor, dim: int) -> Tensor:
    """Return forward differences, 0 at the end."""
    length = values.shape[dim] - 1
    result = torch.zeros_like(values)
    result.narrow(dim, 0, length).copy_(values.narrow(dim, 1, length))
    result.narrow(dim, 0, length).sub_(values.narrow(dim, 0, length))
    return result


def _transposed(values: Tensor, dim: int) -> Tensor:
    """Apply the transpose of `_difference`."""
    length = values.shape[dim] - 1
    result = torch.zeros_like(values)
    inner = values.narrow(dim, 0, length)
    result.narrow(dim, 1, length).copy_(inner)
    result.narrow(dim, 0, length).sub_(inner)
    return result


def build_gtf(
    parameters: GtfParameters, weights: None, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return the function that fuses batches; there is nothing to load."""
    del weights, device
    return lambda sources: gtf(sources, weight=parameters.weight)
