"""Number of threads of computations."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the calling thread compute without helpers.

    Small tensor operations are faster so. Unlike `torch.set_num_threads`, this affects neither
    other threads nor what follows.
    """
    with _libraries().limit(limits=1, user_api="openmp"):
        yield


@functools.lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """Find the OpenMP libraries of this process, once PyTorch has loaded them."""
    return ThreadpoolController()
