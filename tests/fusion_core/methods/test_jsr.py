from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from support.networks import source_images
from support.reference_data import read_gray, read_sources

from fusion_core import fuse
from fusion_core.errors import WeightsError
from fusion_core.methods import METHODS, build_method
from fusion_core.methods.jsr import cosine_dictionary, jsr, pair_dictionary
from fusion_core.networks.weights import Weights

PART = slice(60, 160), slice(90, 190)
MARGIN = 12
"""Pixels at the border of a part that depend on what is outside of it."""

CASES = {
    "jsr_dct": ("jsr", "published"),
    "jsr_scaled_dct": ("jsr", "scaled"),
    "jsrsd_dct": ("jsrsd", "scaled"),
}


@pytest.mark.parametrize("folder", CASES)
def test_part_of_the_verified_picture_is_met(folder: str, shared_reference: Path) -> None:
    method, common = CASES[folder]
    ir, vis = (image[PART] for image in read_sources(shared_reference, 8))
    found = fuse(ir, vis, method=method, dictionary="cosine", common=common).astype(int)
    inner = slice(MARGIN, -MARGIN)
    picture = read_gray(shared_reference / f"fused_compared/{folder}/8.png").astype(int)[PART]
    assert np.array_equal(found[inner, inner], picture[inner, inner])


@pytest.mark.slow
@pytest.mark.parametrize("pair", [8, 11])
@pytest.mark.parametrize("folder", CASES)
def test_verified_picture_is_met(folder: str, pair: int, shared_reference: Path) -> None:
    method, common = CASES[folder]
    ir, vis = read_sources(shared_reference, pair)
    found = fuse(ir, vis, method=method, dictionary="cosine", common=common).astype(int)
    picture = read_gray(shared_reference / f"fused_compared/{folder}/{pair}.png").astype(int)
    assert np.abs(found - picture).max() <= 1
    assert np.abs(found - picture).mean() <= 1e-3


def test_a_dictionary_in_a_file_is_that_of_all_pairs() -> None:
    ir, vis = (torch.from_numpy(image).float() for image in source_images((20, 24)))
    sources = torch.stack((ir, vis))[:, None, None]
    parameters = METHODS["jsr"].parameters()
    data = save({"dictionary": 3.0 * cosine_dictionary()})  # atoms of any norm
    fuse_batch = build_method("jsr", parameters, Weights.from_file(data, "file"))
    assert torch.equal(fuse_batch(sources), jsr(sources, cosine_dictionary()))
    cosine = METHODS["jsr"].parameters.parse({"dictionary": "cosine"})
    with pytest.raises(WeightsError, match="takes no weights"):
        build_method("jsr", cosine, Weights.from_file(data, "file"))
    other = Weights.from_file(save({"dictionary": torch.zeros(49, 255)}), "file")
    with pytest.raises(WeightsError, match="another network"):
        build_method("jsr", parameters, other)


def test_a_dictionary_is_learned_from_each_pair_alone() -> None:
    pairs = [np.stack(source_images((20, 24), seed=seed)) for seed in (0, 1)]
    sources = torch.from_numpy(np.stack(pairs, axis=1)).float().unsqueeze(2)
    together = jsr(sources, iterations=2)
    for number, pair in enumerate(sources.split(1, dim=1)):
        assert torch.equal(jsr(pair, iterations=2)[0], together[number])
        atoms = pair_dictionary(*pair[:, 0, 0].double() / 255, iterations=2, seed=0)
        assert torch.equal(jsr(pair, atoms)[0], together[number])


def test_what_both_sources_have_in_common_is_kept() -> None:
    rows, columns = torch.meshgrid(torch.arange(21.0), torch.arange(26.0), indexing="ij")
    image = 120 + 60 * torch.sin(rows / 5) * torch.cos(columns / 7)
    found = jsr(torch.stack((image, image))[:, None, None], cosine_dictionary())[0, 0]
    assert (found - image)[6:-6, 6:-6].abs().max() < 1.0
