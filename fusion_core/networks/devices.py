"""Devices and precision: constants, empty networks, and float32 without TF32."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from fusion_core.errors import InvalidValueError

Network = TypeVar("Network", bound=nn.Module)


@functools.lru_cache(maxsize=64)
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return a float32 vector, copied to the device once, because a copy synchronises a GPU."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device)


def without_initial_values(build: Callable[[], Network]) -> Network:
    """Build a network with uninitialised parameters, without using the random generator."""
    with torch.device("meta"):
        network = build()
    # `to_empty` does the same, but imports sympy, which takes longer than fusing a pair.
    tensors = network.state_dict().items()
    values = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in tensors}
    network.load_state_dict(values, assign=True)
    return network


def find_device(device: torch.device | str) -> torch.device:
    """Return a device that exists; `auto` is a GPU if there is one.

    Raises:
        InvalidValueError: The device does not exist on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidValueError(
            f"Cannot compute on device {str(device)!r}: {str(error).splitlines()[0]}"
        ) from None
    return torch.device(device)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Keep cuDNN from computing float32 convolutions with ten bits of mantissa (TF32)."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
