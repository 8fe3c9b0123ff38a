"""The trial of kernels for GPUs, which what they need may keep from running."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor

LOGGER = logging.getLogger("irfuse.metrics")

K = TypeVar("K", bound=Callable[..., Tensor])


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the warnings that kernels cannot be used, for processes whose log nobody reads."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    LOGGER.addHandler(handler)
    try:
        yield found
    finally:
        LOGGER.removeHandler(handler)


def try_kernel(
    load: Callable[[], K], arguments: tuple[object, ...], expected: Tensor, *, metrics: str
) -> K | None:
    """Load a Triton kernel, and return it if it runs and agrees with tensor operations.

    It takes Triton, a C compiler and a folder for the result, and pairs must not fail where one of
    them is missing: a warning says why tensor operations take the place of the kernel.

    Args:
        load: Imports the kernel.
        arguments: What to try it with.
        expected: What tensor operations return for the arguments, to 1e-5.
        metrics: Names of the metrics that need it.
    """
    try:
        kernel = load()
        deviation = (kernel(*arguments) - expected).abs().max().item()
    except Exception as error:  # noqa: BLE001 - Triton, compilers and drivers raise any
        reason = f"{type(error).__name__}: {error}"
    else:
        if deviation <= 1e-5:
            return kernel
        reason = f"its result is off by {deviation}"
    LOGGER.warning(
        "%s will be computed by tensor operations, which take longer, because the Triton kernel "
        "cannot be used: %s",
        metrics,
        reason,
    )
    return None
