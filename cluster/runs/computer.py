"""What a worker computes on its device: fused images and scores of loaded pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor

from cluster.runs.config import WorkerConfig
from cluster.runs.origins import EightBit, Fuser
from cluster.runs.pair_state import PairState
from fusion_core.images import Uploaded, download
from fusion_core.metrics import Scores, score_on_device


class Computer(Protocol):
    """Computes batches of pairs of one shape."""

    @property
    def fuses(self) -> bool:
        """Whether images are fused; otherwise, they exist already."""

    def upload(self, states: Sequence[PairState]) -> None:
        """Let the images of pairs go to the device, while it computes others."""

    def fuse(self, states: Sequence[PairState]) -> list[EightBit]:
        """Return the fused images of pairs."""

    def score(self, states: Sequence[PairState]) -> list[Scores]:
        """Return the scores of pairs that have a fused image."""


class DeviceImages:
    """The images of one pair on the device, by their names.

    Args:
        uploaded: Images of this pair and of others.
        places: The name of each image of this pair, and its place among them.
    """

    def __init__(self, uploaded: Uploaded, places: dict[str, int]) -> None:
        self._uploaded, self._places = uploaded, places
        self._computed: dict[str, Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._computed or name in self._places

    def __getitem__(self, name: str) -> Tensor:
        found = self._computed.get(name)
        return self._uploaded.wait()[self._places[name]] if found is None else found

    def add(self, name: str, image: Tensor) -> None:
        """Add an image that was computed on the device."""
        self._computed[name] = image


class DeviceComputer:
    """Computes with the method and the metrics of a run, on a CPU or a GPU.

    The images of a batch are sent to a GPU once, as gray levels or RGB of 8 bits. Everything else
    happens there, and fused images return once, likewise.

    Args:
        config: Settings of the worker.
        fuser: The loaded method; None if fused images exist already.
    """

    def __init__(self, config: WorkerConfig, fuser: Fuser | None) -> None:
        self.fuser = fuser
        self._device = config.device
        self._metrics, self._channels = config.record.metrics, config.record.channels
        self._copies = torch.cuda.Stream() if config.device == "cuda" else None

    @property
    def fuses(self) -> bool:
        """Whether images are fused; otherwise, they exist already."""
        return self.fuser is not None

    def upload(self, states: Sequence[PairState]) -> None:
        """Let the images of pairs go to the device, while it computes others.

        If its memory is full, that waits until they are computed.
        """
        with suppress(torch.OutOfMemoryError):
            self._send(states, self._copies)

    def fuse(self, states: Sequence[PairState]) -> list[EightBit]:
        """Return the fused images of pairs, which stay on the device as well."""
        assert self.fuser is not None
        pairs = self._images(states)
        groups = [[images[name] for images in pairs] for name in _sources(states[0])]
        fused = self.fuser(groups)
        for images, image in zip(pairs, fused, strict=True):
            images.add("fused", image)
        return download(fused)

    def score(self, states: Sequence[PairState]) -> list[Scores]:
        """Return the scores of pairs that have a fused image."""
        names = ("ir", "vis", "fused", "reference")
        groups = [
            tuple(images[name] for name in names if name in images)
            for images in self._images(states)
        ]
        return score_on_device(groups, self._metrics, self._channels)

    def _images(self, states: Sequence[PairState]) -> list[DeviceImages]:
        if missing := [state for state in states if state.on_device is None]:
            self._send(missing, None)
        return [state.on_device for state in states if state.on_device is not None]

    def _send(self, states: Sequence[PairState], stream: torch.cuda.Stream | None) -> None:
        named = [dict(_arrays(state)) for state in states]
        uploaded = Uploaded([a for arrays in named for a in arrays.values()], self._device, stream)
        first = 0
        for state, arrays in zip(states, named, strict=True):
            places = range(first, first + len(arrays))
            state.on_device = DeviceImages(uploaded, dict(zip(arrays, places, strict=True)))
            first += len(arrays)


def _sources(state: PairState) -> list[str]:
    """Return the names of the images of a pair that are fused."""
    return ["ir", "vis", *(f"further {n}" for n in range(len(state.further)))]


def _arrays(state: PairState) -> Iterator[tuple[str, EightBit]]:
    """Yield the images of a pair by their names."""
    images = (state.ir, state.vis, *state.further, state.fused, state.reference)
    for name, image in zip((*_sources(state), "fused", "reference"), images, strict=True):
        if image is not None:
            yield name, image
