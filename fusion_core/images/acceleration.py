"""The compiled kernels of images, for processes that decode many.

Loading them takes half a second, which a command for a single pair is better off without: until
`prepare_images` is called, NumPy and Pillow do the same, with the same results.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np

_KERNELS = "fusion_core.images.kernels"


def loaded_kernels() -> ModuleType | None:
    """Return the module of the kernels, or None if they are not loaded."""
    return sys.modules.get(_KERNELS)


def prepare_images() -> None:
    """Compile the kernels, or load them from disk, before the first pair."""
    from fusion_core.images import kernels

    pixels = np.zeros((2, 3), np.uint8)
    kernels.undo_filters(np.zeros((2, 4), np.uint8), pixels, 3)
    kernels.weigh_channels(pixels, np.empty(2, np.uint8))
