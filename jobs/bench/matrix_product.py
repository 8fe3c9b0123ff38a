"""The rate of a large matrix product, as a reference for the speed of the processor or GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict

from fusion_core.choices import Precision
from jobs.bench.measuring import synchronised, time_repeats

LARGEST_SIDE = 2048
"""Largest side of the matrices."""
_SMALLEST_SIDE = 64
_GROWTH = 8.0
"""Ratio of operations when the side of the matrices doubles."""
_REPEATS = 7
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

Product = Callable[[], object]


class MatrixRate(BaseModel):
    """Rate of a product of two square matrices."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    gigaflops: float
    """Rate in billions of floating-point operations per second."""
    side: int
    """Side of the matrices; smaller than 2048 if such a product would take too long."""

    @property
    def reduced(self) -> bool:
        """Whether the matrices were smaller than intended, so that the rate may be too low."""
        return self.side < LARGEST_SIDE


def measure_matrix_product(
    precision: Precision,
    device: str,
    *,
    longest_s: float = 1.0,
    products: Callable[[int], list[Product]] | None = None,
) -> MatrixRate:
    """Measure the rate of a matrix product, with matrices as large as the time limit allows.

    A CPU without instructions for bfloat16 emulates it, which is hundreds of times slower.
    Therefore the matrices start small, and their side doubles as long as the next product is
    expected to stay within the limit. The fastest of several implementations is reported.

    Args:
        precision: Format of the matrices.
        device: `cpu` or `cuda`.
        longest_s: Longest expected time of one product in seconds.
        products: Function from the side of the matrices to the implementations; by default those
            of torch and oneDNN.
    """
    ways = products or (lambda side: matrix_products(side, precision, device))
    side = _SMALLEST_SIDE
    while side < LARGEST_SIDE:
        seconds = [min(times) for times in _time(ways(side), device, repeats=2)]
        if _GROWTH * max(seconds) > longest_s:
            break
        side *= 2
    medians = [statistics.median(times) for times in _time(ways(side), device, repeats=_REPEATS)]
    return MatrixRate(gigaflops=2.0 * side**3 / min(medians) / 1e9, side=side)


def matrix_products(side: int, precision: Precision, device: str) -> list[Product]:
    """Return implementations of the square of a random matrix: torch's, and oneDNN's on CPUs.

    On some processors torch's own product reaches less than half of the rate of oneDNN.
    """
    left = torch.randn(side, side, device=device).to(_DTYPES[precision])
    products: list[Product] = [lambda: left @ left]
    if device == "cpu" and _has_onednn(_DTYPES[precision]):
        rows = left.view(1, side, 1, -1).to(memory_format=torch.channels_last)
        filters = left.view(side, side, 1, 1)
        products.append(
            lambda: torch.mkldnn_convolution(rows, filters, None, (0, 0), (1, 1), (1, 1), 1)
        )
    return products


def _has_onednn(dtype: torch.dtype) -> bool:
    """Whether oneDNN supports convolutions of this type on this CPU; bfloat16 requires AVX-512."""
    if not torch.backends.mkldnn.is_available():
        return False
    image = torch.zeros(1, 1, 1, 1, dtype=dtype)
    try:
        torch.mkldnn_convolution(image, image, None, (0, 0), (1, 1), (1, 1), 1)
    except RuntimeError:
        return False
    return True


def _time(products: list[Product], device: str, *, repeats: int) -> list[list[float]]:
    place = torch.device(device)
    return [time_repeats(synchronised(product, place), repeats, 1) for product in products]
