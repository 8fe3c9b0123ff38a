"""Devices and precision: constants, empty networks, and float32 without TF32."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fusion_core.errors import InvalidValueError

Network = TypeVar("Network", bound=nn.Module)


@functools.lru_cache(maxsize=64)
def constant(
    values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return a vector, copied to the device once, because a copy synchronises a GPU."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=dtype, device=device)


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


class _FullPrecision:
    """Switches TF32 off while it has users, and restores the user's settings after the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = ("none", "none")

    def begin(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = _exchange_precisions("ieee", "ieee")
            self._users += 1

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                _exchange_precisions(*self._before)


def _exchange_precisions(convolutions: str, products: str) -> tuple[str, str]:
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    matmul: Any = torch.backends.cuda.matmul
    before = conv.fp32_precision, matmul.fp32_precision
    conv.fp32_precision, matmul.fp32_precision = convolutions, products
    return before


_FULL_PRECISION = _FullPrecision()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Keep a GPU from computing with ten bits of mantissa (TF32) in float32 convolutions.

    Products of matrices, which some convolutions become, are included. The settings of PyTorch are
    global: the user's own are restored when the last thread has left.
    """
    if device.type != "cuda":
        yield
        return
    _FULL_PRECISION.begin()
    try:
        yield
    finally:
        _FULL_PRECISION.end()
