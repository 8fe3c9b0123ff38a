"""Calls of a user's method that leave the state of the process as it was."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion_core.extensions.adapter import check_result
from fusion_core.methods.base import FuseBatch

_SEED = 0


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What code can change for everything else in the process."""

    random: dict[str, Any]
    """State of each global random generator."""
    dtype: torch.dtype
    threads: int
    folder: str
    gradients: bool

    @classmethod
    def now(cls) -> ProcessState:
        """Return the state of this process."""
        generators = {
            "torch": torch.get_rng_state().numpy().tobytes(),
            "numpy": np.random.get_state(legacy=True),  # noqa: NPY002 - users may use it
            "random": random.getstate(),
        }
        return cls(
            generators,
            torch.get_default_dtype(),
            torch.get_num_threads(),
            os.getcwd(),
            torch.is_grad_enabled(),
        )

    def changes(self) -> list[str]:
        """Return what has changed since, in words."""
        now, changed = ProcessState.now(), []
        for name, state in self.random.items():
            if repr(state) != repr(now.random[name]):
                changed.append(f"the global random generator of {name}")
        names = {
            "dtype": "the default type of torch",
            "threads": "the number of threads",
            "folder": "the working directory",
            "gradients": "whether gradients are computed",
        }
        return changed + [
            text for name, text in names.items() if getattr(self, name) != getattr(now, name)
        ]

    def restore(self) -> None:
        """Restore what has changed."""
        torch.set_rng_state(torch.frombuffer(bytearray(self.random["torch"]), dtype=torch.uint8))
        np.random.set_state(self.random["numpy"])  # noqa: NPY002
        random.setstate(self.random["random"])
        if torch.get_default_dtype() != self.dtype:
            torch.set_default_dtype(self.dtype)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if torch.is_grad_enabled() != self.gradients:
            torch.set_grad_enabled(self.gradients)
        if os.getcwd() != self.folder:
            os.chdir(self.folder)


@contextmanager
def restored_state() -> Iterator[None]:
    """Seed the random generators, and restore them and other global state afterwards."""
    before = ProcessState.now()
    torch.default_generator.manual_seed(_SEED)
    np.random.seed(_SEED)  # noqa: NPY002
    random.seed(_SEED)
    try:
        yield
    finally:
        before.restore()


def guard(fuse_batch: FuseBatch) -> FuseBatch:
    """Return a method whose results are checked, and whose calls leave the process as it was.

    Random numbers are the same in each call.

    Raises:
        ContractError: When it is called, and the method returns something else than images of the
            size of its sources, or values that are not finite.
    """

    def fuse(sources: Tensor) -> Tensor:
        with restored_state():
            return check_result(fuse_batch(sources), sources.shape[1:])

    return fuse
