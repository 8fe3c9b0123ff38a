"""An estimate of the memory that a worker takes, which it requests of Ray."""

from __future__ import annotations

from cluster.runs.config import WorkerConfig
from fusion_core.methods import METHODS

_PROCESS_BYTES = 900_000_000
"""The libraries, compiled metrics, and a window of pairs."""
_COPIES_OF_WEIGHTS = 4
"""The file, the network that is loaded from it, and the transformed filters of 3x3 convolutions,
which are half of the weights of a ResNet, and become four times as large."""
_ASSUMED_PIXELS = 1280 * 1024
"""Pixels of a pair, unless the run accepts smaller ones only: what pairs are is known only when
they are read, and the largest accepted pair may need a hundred times more than usual ones."""
_BYTES_PER_PIXEL = 300
"""For methods of the user's own, and for scoring alone."""


def estimate_for_method(method: str, max_pixels: int, weights: int = 0) -> int:
    """Return the memory in bytes that a worker takes with pairs of 1280x1024 pixels.

    Args:
        method: Name of the method.
        max_pixels: Pixels of the largest pair that is accepted.
        weights: Size of the weight file in bytes.
    """
    spec = METHODS.get(method)
    per_pixel = _BYTES_PER_PIXEL if spec is None else spec.bytes_per_pixel
    return (
        _PROCESS_BYTES + _COPIES_OF_WEIGHTS * weights + per_pixel * min(max_pixels, _ASSUMED_PIXELS)
    )


def estimate_memory(config: WorkerConfig) -> int:
    """Return the memory in bytes that a worker of a run takes with pairs of 1280x1024 pixels.

    Larger pairs take more. If the memory of a node runs out nevertheless, it gets fewer workers.
    """
    weights = config.payload.weights
    size = 0 if weights is None or weights.data is None else len(weights.data)
    record = config.record
    return estimate_for_method(record.origin.method, record.max_pixels, size)
