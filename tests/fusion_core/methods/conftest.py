"""Methods compute without gradients, as in a run."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """Let a test call the functions of methods as `fuse` does."""
    with torch.inference_mode():
        yield
