from __future__ import annotations

import numpy as np
import pytest
import torch

import irfuse
from fusion_core.errors import InvalidValueError, WeightsError
from fusion_core.methods.average import average


def test_fused_image_is_the_mean_rounded_half_up() -> None:
    generator = np.random.default_rng(0)
    ir, vis = generator.integers(0, 256, (2, 40, 30), dtype=np.uint8)
    expected = (ir.astype(int) + vis + 1) // 2
    assert np.array_equal(irfuse.fuse(ir, vis, method="average"), expected)


def test_three_sources_are_averaged() -> None:
    sources = torch.tensor([0.0, 60.0, 240.0]).view(3, 1, 1, 1, 1).expand(3, 2, 1, 4, 5)
    assert torch.equal(average(sources), torch.full((2, 1, 4, 5), 100.0))


def test_one_source_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"^Expected at least 2 sources, but got 1$"):
        average(torch.zeros(1, 1, 1, 4, 5))


def test_weights_and_precision_are_refused() -> None:
    image = np.zeros((4, 5), np.uint8)
    with pytest.raises(WeightsError, match=r"^average takes no weights"):
        irfuse.fuse(image, image, method="average", weights="random:0")
    with pytest.raises(InvalidValueError, match=r"^Unknown parameter 'precision'"):
        irfuse.fuse(image, image, method="average", precision="bf16")
