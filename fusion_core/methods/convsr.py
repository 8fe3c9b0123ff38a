"""Convolutional sparse representation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fusion_core.filters import box_mean
from fusion_core.methods.decomposition import tikhonov
from fusion_core.methods.sources import split_pair
from fusion_core.methods.specs.convsr import ConvsrParameters, Mode
from fusion_core.networks import Weights, load_weights

_RADII: dict[Mode, int] = {"modal": 3, "focus": 9}
_SPARSITY = 0.01
_MOST_ITERATIONS = 500
_TOLERANCE = 1e-3
_RELAXATION = 1.8
_FIRST_PENALTY = 100.0 * _SPARSITY + 0.5
_LARGEST_STEP = 100.0
_RATIO = 1.2
_BALANCE = 1.0 + 18.3 ** (math.log10(_SPARSITY) + 1.0)
"""Ratio of the residuals at which the penalty is left as it is."""


class ConvolutionalDictionary(torch.nn.Module):
    """The filters of a convolutional sparse representation."""

    def __init__(self, filters: int = 32, side: int = 8) -> None:
        super().__init__()
        self.dictionary = torch.nn.Parameter(torch.zeros(filters, side, side))


def convsr(sources: Tensor, dictionary: Tensor, *, mode: Mode = "modal") -> Tensor:
    """Choose the sparse code of the more active source at each pixel.

    Liu, Chen, Ward & Wang, "Image Fusion With Convolutional Sparse Representation", IEEE Signal
    Processing Letters, 2016, https://doi.org/10.1109/LSP.2016.2618776. The details of the sources
    are coded by convolutional basis pursuit denoising, which is solved by ADMM (Wohlberg,
    "Efficient Algorithms for Convolutional Sparse Representations", IEEE Transactions on Image
    Processing, 2016, https://doi.org/10.1109/TIP.2015.2495260).

    Args:
        sources: Infrared and visible images, `(2, B, 1, H, W)` float in 0..255.
        dictionary: Filters `(M, h, w)` float.
        mode: `modal`, for infrared and visible images, averages the bases and compares the activity
            in 7x7 windows; `focus`, for multi-focus images, takes the base of the more active
            source and compares in 19x19 windows.

    Returns:
        `(B, 1, H, W)` float32, of no fixed range.

    Raises:
        InvalidValueError: There are not exactly two sources.

    Example:
        >>> convsr(torch.full((2, 1, 1, 9, 9), 51.0), torch.ones(1, 2, 2)).round().unique()
        tensor([51.])
    """
    infrared, visible = split_pair(sources, "convsr", scale=255.0, dtype=torch.float32)
    images = torch.stack((infrared, visible))
    bases = tikhonov(images)
    details = images - bases
    fused = [
        _fuse(bases[:, number, 0], details[:, number, 0], dictionary, mode)
        for number in range(images.shape[1])
    ]
    return 255.0 * torch.stack(fused).unsqueeze(1)


def _fuse(bases: Tensor, details: Tensor, dictionary: Tensor, mode: Mode) -> Tensor:
    """Fuse one pair from its bases and details `(2, H, W)`."""
    codes = torch.stack([sparse_code(detail, dictionary) for detail in details])
    activity = box_mean(codes.abs().sum(dim=1), _RADII[mode], border="zero")
    infrared = activity[0] > activity[1]
    base = torch.where(infrared, bases[0], bases[1]) if mode == "focus" else bases.mean(dim=0)
    height, width = details.shape[-2:]
    spectrum = torch.fft.rfft2(torch.where(infrared, codes[0], codes[1]))
    spectrum *= _filter_spectra(dictionary, height, width)
    return base + _inverse_rfft2(spectrum.sum(dim=0), width)


def sparse_code(image: Tensor, dictionary: Tensor) -> Tensor:
    """Return the sparse code of an image: `0.5 |sum d * x - image|^2 + 0.01 sum |x|` is minimal.

    The image is continued periodically. The penalty of ADMM is adapted to its residuals.

    Args:
        image: `(H, W)`.
        dictionary: `(M, h, w)`.

    Returns:
        `(M, H, W)`.
    """
    height, width = image.shape
    filters = _filter_spectra(dictionary, height, width)
    power = (filters.real**2 + filters.imag**2).sum(dim=0)
    conjugate = filters.conj().resolve_conj()
    correlation = conjugate * torch.fft.rfft2(image)
    code = image.new_zeros(len(dictionary), height, width)
    dual = torch.zeros_like(code)
    penalty = _FIRST_PENALTY
    for iteration in range(_MOST_ITERATIONS):
        right = torch.fft.rfft2(code - dual).mul_(penalty).add_(correlation)
        shared = (filters * right).sum(dim=0) / (penalty + power)
        solution = _inverse_rfft2(right.addcmul_(conjugate, shared, value=-1).div_(penalty), width)
        relaxed = torch.add((1.0 - _RELAXATION) * code, solution, alpha=_RELAXATION)
        previous, code = code, functional.softshrink(relaxed + dual, _SPARSITY / penalty)
        dual += relaxed - code
        primal, step = _residuals(solution, previous, code, dual)
        if primal <= _TOLERANCE and step <= _TOLERANCE:
            break
        if iteration:
            factor = _penalty_factor(primal, step)
            penalty *= factor
            dual /= factor
    return code


def _inverse_rfft2(spectra: Tensor, width: int) -> Tensor:
    """Invert `rfft2`, dimension by dimension, which takes half the time of `irfft2` on a CPU."""
    inverse: Tensor = torch.fft.irfft(torch.fft.ifft(spectra, dim=-2), n=width)
    return inverse


def _residuals(
    solution: Tensor, previous: Tensor, code: Tensor, dual: Tensor
) -> tuple[float, float]:
    """Return the relative primal and dual residuals of an iteration; 0 where all is 0."""
    size = max(solution.norm().item(), code.norm().item())
    primal = (solution - code).norm().item() / size if size else 0.0
    scale = dual.norm().item()
    return primal, ((previous - code).norm().item() / scale if scale else 0.0)


def _penalty_factor(primal: float, step: float) -> float:
    ratio = primal / (step * _BALANCE) if step else _LARGEST_STEP**2
    factor = math.sqrt(ratio) if ratio else 1.0 / _LARGEST_STEP
    factor = min(max(factor, 1.0 / factor), _LARGEST_STEP)
    if primal > _RATIO * _BALANCE * step:
        return factor
    return 1.0 / factor if step > _RATIO / _BALANCE * primal else 1.0


def _filter_spectra(dictionary: Tensor, height: int, width: int) -> Tensor:
    """Return the spectra `(M, H, W // 2 + 1)` of filters that begin in the upper left corner."""
    count, filter_height, filter_width = dictionary.shape
    rows = torch.arange(filter_height, device=dictionary.device).remainder(height)
    columns = torch.arange(filter_width, device=dictionary.device).remainder(width)
    places = (rows.unsqueeze(1) * width + columns).flatten()
    padded = dictionary.new_zeros(count, height * width)
    padded.index_add_(1, places, dictionary.flatten(1))
    spectra: Tensor = torch.fft.rfft2(padded.view(count, height, width))
    return spectra


def build_convsr(
    parameters: ConvsrParameters, weights: Weights, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Load the dictionary onto a device and return the function that fuses batches.

    Raises:
        WeightsError: The file does not hold a dictionary.
    """
    module = ConvolutionalDictionary()
    load_weights(module, weights)
    dictionary = module.dictionary.detach().to(device)
    return lambda sources: convsr(sources, dictionary, mode=parameters.mode)
