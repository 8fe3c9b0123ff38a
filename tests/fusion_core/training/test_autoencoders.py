from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from fusion_core.choices import Autoencoder
from fusion_core.errors import InvalidValueError
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.methods import get_method
from fusion_core.networks.weights import Weights, read_bundled_weights
from fusion_core.training.autoencoders import load_autoencoder, reconstruct_image

METHODS: tuple[Autoencoder, ...] = get_args(Autoencoder)
methods = pytest.mark.parametrize("method", METHODS)

LARGEST_SHARE = 1e-3
"""Share of the levels that tiles may round the other way; at most 1e-5 were measured."""


@methods
def test_tiles_give_the_reconstruction_of_the_whole_image(method: Autoencoder) -> None:
    bundled = get_method(method).weights.bundled(get_method(method).parameters())  # type: ignore[union-attr]
    weights = Weights.from_seed(0) if bundled is None else read_bundled_weights(bundled)
    module = load_autoencoder(method, weights)
    for size in ((150, 130), (41, 97), (7, 60)):
        image, _ = synthetic_pair(*size, seed=size[0])
        whole = reconstruct_image(module, image, tile=1000).astype(int)
        tiled = reconstruct_image(module, image, tile=40)
        assert np.abs(tiled - whole).max() <= 1, size
        assert (tiled != whole).mean() < LARGEST_SHARE, size


@methods
def test_the_network_never_sees_more_than_a_tile_and_its_halo(
    method: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_autoencoder(method, Weights.from_seed(0))
    seen: list[tuple[int, ...]] = []
    encode = module.network.encode

    def watch(images: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(images.shape[-2:]))
        return encode(images)

    monkeypatch.setattr(module.network, "encode", watch)
    reconstruct_image(module, np.zeros((100, 90), np.uint8), tile=32)
    assert len(seen) == 12
    assert max(max(size) for size in seen) <= 32 + 2 * module.network.receptive_radius


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="Cannot compute on device 'cuda:99'"):
        load_autoencoder("densefuse", Weights.from_seed(0), device="cuda:99")
