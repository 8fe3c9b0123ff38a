"""Transfer of 8-bit images to the device that computes, and back.

On a GPU, all images of a batch travel in one copy from page-locked memory, on a stream of its own,
so that images of the next batch arrive while one is computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EightBit = NDArray[np.uint8]


class Uploaded:
    """Images on their way to a device.

    Args:
        images: Images `(H, W)` or `(H, W, 3)`, uint8.
        device: The device.
        stream: Stream of a GPU on which they are copied; None for the current one.

    Raises:
        torch.OutOfMemoryError: They do not fit into the memory of the device.

    >>> [image.shape for image in Uploaded([np.zeros((2, 3), np.uint8)], "cpu").wait()]
    [torch.Size([2, 3])]
    """

    def __init__(
        self,
        images: Sequence[EightBit],
        device: torch.device | str,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        self._device = torch.device(device)
        self._copied: torch.cuda.Event | None = None
        if self._device.type != "cuda":
            self._images = [_to_tensor(image).to(self._device) for image in images]
            return
        with torch.cuda.stream(stream):
            self._images = _copy_together(images, self._device)
            self._copied = torch.cuda.current_stream(self._device).record_event()

    def wait(self) -> list[Tensor]:
        """Return the images, for work on the current stream, which waits for their arrival.

        All calls are on one stream: work that follows a first call is ordered already.
        """
        if self._copied is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(self._copied)
            for image in self._images:
                image.record_stream(current)  # the memory is not used again before that work ends
            self._copied = None
        return self._images


def upload(images: Sequence[EightBit], device: torch.device | str) -> list[Tensor]:
    """Copy images to a device, in the order of the current stream.

    Args:
        images: Images `(H, W)` or `(H, W, 3)`, uint8.
        device: The device. On the CPU, nothing is copied unless an image is read-only, or a view
            with negative strides.

    Returns:
        The same images as tensors.

    >>> upload([np.uint8([[1, 2]])], "cpu")
    [tensor([[1, 2]], dtype=torch.uint8)]
    """
    return Uploaded(images, device).wait()


def download(images: Tensor) -> list[EightBit]:
    """Return a batch of images as arrays, copied at once from a GPU.

    Args:
        images: `(B, H, W)` or `(B, H, W, 3)` uint8.

    >>> download(torch.zeros(2, 1, 3, dtype=torch.uint8))[1].tolist()
    [[0, 0, 0]]
    """
    if images.device.type == "cuda":
        host = torch.empty(images.shape, dtype=images.dtype, pin_memory=True)
        host.copy_(images, non_blocking=True)
        torch.cuda.current_stream(images.device).synchronize()
        images = host
    return list(images.cpu().numpy())


def _copy_together(images: Sequence[EightBit], device: torch.device) -> list[Tensor]:
    """Copy images in one transfer, on the current stream."""
    sizes = [image.size for image in images]
    host = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=True)
    for part, image in zip(host.split(sizes), images, strict=True):
        part.numpy().reshape(image.shape)[...] = image
    # PyTorch keeps the page-locked memory until the copy on this stream has ended.
    parts = host.to(device, non_blocking=True).split(sizes)
    return [part.view(image.shape) for part, image in zip(parts, images, strict=True)]


def _to_tensor(image: EightBit) -> Tensor:
    usable = image.flags.writeable and min(image.strides) >= 0
    return torch.from_numpy(image if usable else image.copy())
