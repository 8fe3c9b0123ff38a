"""A method that is checked, in the process in which it is checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.extensions.adapter import check_result
from fusion_core.extensions.guarding import ProcessState, guard
from fusion_core.images import luma
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.methods.base import FuseBatch, MethodSpec
from fusion_core.networks import Weights, find_device
from fusion_core.parameters import MethodParameters

Image = NDArray[np.uint8]
Pair = tuple[Image, Image]

_LEAST_MEGAPIXELS = 0.004
"""Size of images from which the speed is estimated."""


@dataclass
class MethodSubject:
    """A method that is checked, in the process in which it is checked."""

    spec: MethodSpec
    """The method, whose calls are not guarded."""
    parameters: MethodParameters
    weights: Weights | None = None
    device: str = "cpu"
    pairs: Sequence[Pair] = ()
    """Pairs of the user."""
    expected: Sequence[Image] = ()
    """What the method should make of them."""
    tolerance: float = 1.0
    """Largest accepted mean difference from that in gray levels."""
    quick: bool = False
    longest_s: float = 300.0
    """Longest accepted time of a call."""
    attempts: list[str] = field(default_factory=list)
    """Places in the network that were asked for."""
    before_loading: ProcessState | None = None
    """State of the process before the method was loaded."""
    on_call: Callable[[], None] = lambda: None
    """Called after each call of the method."""
    fuse: FuseBatch = field(init=False)
    """The method, whose calls are not guarded."""
    seconds_per_megapixel: float = field(init=False, default=0.0)
    """As far as is known."""

    def build(self) -> None:
        """Load the method onto the device."""
        place = find_device(self.device)
        fuse_batch = self.spec.build(self.parameters, self.weights, place)

        def fuse(sources: Tensor) -> Tensor:
            started = time.perf_counter()
            with torch.inference_mode():
                fused = check_result(fuse_batch(sources), sources.shape[1:])
            seconds = time.perf_counter() - started
            megapixels = sources.shape[1] * sources[0, 0, 0].numel() / 1e6
            if megapixels > _LEAST_MEGAPIXELS:
                self.seconds_per_megapixel = seconds / megapixels
            self.on_call()
            return fused

        self.fuse = fuse

    def sources(self, *pairs: Pair) -> Tensor:
        """Return gray pairs of one size as the method gets them: `(2, B, C, H, W)`."""
        images = [np.stack([luma(i) for i in images]) for images in zip(*pairs, strict=True)]
        stacked = torch.from_numpy(np.stack(images)).float().unsqueeze(2).to(self.device)
        return stacked.expand(-1, -1, self.spec.channels, -1, -1)

    def affordable(self, height: int, width: int) -> bool:
        """Whether an image of this size can be fused within the accepted time."""
        return self.seconds_per_megapixel * height * width / 1e6 < self.longest_s / 2

    @property
    def example(self) -> Pair:
        """A pair of the user, or a generated one."""
        return self.pairs[0] if self.pairs else make_pair(240, 320)


def make_pair(height: int, width: int, seed: int = 0, *, colour: bool = False) -> Pair:
    """Return a generated pair."""
    return synthetic_pair(height, width, seed=seed, colour=colour)


class PeakMemory:
    """Measures the memory that a block takes in addition to what is taken before."""

    def __init__(self, device: str) -> None:
        self.bytes = 0
        self._device = device

    def __enter__(self) -> PeakMemory:
        if self._device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            self._before = psutil.Process().memory_info().rss
        return self

    def __exit__(self, *_: object) -> None:
        if self._device == "cuda":
            peak = torch.cuda.max_memory_allocated()
        else:
            import resource

            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.bytes = max(0, peak - self._before)


def reference_result(subject: MethodSubject) -> NDArray[Any]:
    """Return the result for the example, to compare it between processes."""
    fused: NDArray[Any] = guard(subject.fuse)(subject.sources(subject.example)).cpu().numpy()
    return fused
