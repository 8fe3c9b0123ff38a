from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.reference_data import read_gray, read_sources

from fusion_core import fuse
from fusion_core.methods.convsr import _filter_spectra, sparse_code
from fusion_core.networks.state_dicts import read_tensors
from fusion_core.networks.weights import read_bundled_weights

PART = slice(80, 200), slice(80, 200)
"""Part of pair 8 that was cut out before it was fused."""


@pytest.mark.parametrize("mode", ["modal", pytest.param("focus", marks=pytest.mark.slow)])
def test_picture_of_the_verified_program_is_met(mode: str, shared_reference: Path) -> None:
    ir, vis = (image[PART] for image in read_sources(shared_reference, 8))
    name = f"fused_compared/convsr_sporco/8_rows80-200_cols80-200_{mode}.png"
    expected = read_gray(shared_reference / name).astype(int)
    difference = np.abs(fuse(ir, vis, method="convsr", mode=mode).astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() <= 5e-4


def objective(code: torch.Tensor, image: torch.Tensor, dictionary: torch.Tensor) -> float:
    spectra = _filter_spectra(dictionary, *image.shape)
    found = torch.fft.irfft2((torch.fft.rfft2(code) * spectra).sum(0), s=image.shape)
    return float(0.5 * (found - image).square().sum() + 0.01 * code.abs().sum())


def test_the_code_is_a_minimum() -> None:
    generator = torch.Generator().manual_seed(0)
    dictionary = read_tensors(read_bundled_weights("convsr"))["dictionary"].double()
    image = torch.randn(20, 24, generator=generator, dtype=torch.float64) * 0.1
    code = sparse_code(image, dictionary)
    least = objective(code, image, dictionary)
    assert least < 0.5 * image.square().sum()  # the code that is 0
    for _ in range(5):
        change = torch.randn(code.shape, generator=generator, dtype=torch.float64)
        assert objective(code + 1e-3 * change, image, dictionary) > least
        assert objective(code * (1 + 1e-2 * change), image, dictionary) > least


def test_filters_larger_than_the_image_wrap_around() -> None:
    dictionary = torch.arange(16.0).view(1, 4, 4)
    found = torch.fft.irfft2(_filter_spectra(dictionary, 2, 3), s=(2, 3))
    expected = torch.zeros(2, 3)
    for row in range(4):
        for column in range(4):
            expected[row % 2, column % 3] += dictionary[0, row, column]
    assert torch.allclose(found[0], expected, atol=1e-5)
