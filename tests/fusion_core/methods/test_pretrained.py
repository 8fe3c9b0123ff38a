"""The weights that come with irfuse: what their cards say, and how well they reconstruct."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch

import fusion_core
from fusion_core.images.colour import luma
from fusion_core.images.decoding import decode_image
from fusion_core.metrics.structural.reconstruction import RECONSTRUCTION_METRICS
from fusion_core.networks.weights import Weights
from fusion_core.training.autoencoders import load_autoencoder, reconstruct_image
from fusion_core.training.losses import structure

FOLDER = Path(fusion_core.__file__).parent / "pretrained"
HELD_OUT = ("astronaut.png", "camera.png", "chelsea.png", "coins.png", "moon.png")
"""Photographs of scikit-image that no weights were trained on."""
PAPER = {
    "densefuse": {"SSIM": 0.9956, "PSNR": 43.6},
    "res2netfuse": {"SSIM": 0.9956, "PSNR": 40.36},
}
"""Song et al., Res2NetFuse, Table III: DenseFuse, and Res2NetFuse trained on one image."""
LEAST_OF_MSDNET = {"SSIM": 0.998, "PSNR": 42.5}
"""The MSDNet paper reports no reconstructions; measured: 0.9985 and 43.1."""

FLAT = {"astronaut.png"}
"""Photographs with black areas, whose structure is noise."""
LEAST_STRUCTURE = 0.999
"""Structure term of the SSIM of `deepfuse`, which is trained for it alone."""

methods = pytest.mark.parametrize("method", ["densefuse", "res2netfuse", "deepfuse", "msdnet"])


def card(method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{method}.json").read_text())
    return found


def reconstruct_all(method: str) -> dict[str, float]:
    """Return the mean metrics over the held-out photographs."""
    data = (FOLDER / f"{method}.safetensors").read_bytes()
    network = load_autoencoder(method, Weights.from_file(data, method))
    rows = []
    for name in HELD_OUT:
        image = decode_image((Path(skimage.__file__).parent / "data" / name).read_bytes())
        gray = image if image.ndim == 2 else luma(image)
        pair = [
            torch.from_numpy(each)[None, None] for each in (reconstruct_image(network, gray), gray)
        ]
        rows.append({name: m(*pair).item() for name, m in RECONSTRUCTION_METRICS.items()})
    return {name: float(np.mean([row[name] for row in rows])) for name in RECONSTRUCTION_METRICS}


@methods
def test_the_card_is_that_of_the_weights(method: str) -> None:
    data = (FOLDER / f"{method}.safetensors").read_bytes()
    assert card(method)["sha256"] == hashlib.sha256(data).hexdigest()
    assert card(method)["method"] == method
    assert len(data) < 1_000_000


@methods
def test_held_out_photographs_are_not_among_the_training_images(method: str) -> None:
    assert card(method)["data"]["files"]
    assert not set(card(method)["data"]["files"]) & set(HELD_OUT)


@pytest.mark.parametrize("method", PAPER)
def test_held_out_photographs_are_reconstructed_as_well_as_in_the_paper(method: str) -> None:
    found = reconstruct_all(method)
    for name, least in PAPER[method].items():
        assert found[name] >= least


def test_held_out_photographs_are_reconstructed_by_msdnet() -> None:
    found = reconstruct_all("msdnet")
    for name, least in LEAST_OF_MSDNET.items():
        assert found[name] >= least


def test_the_structure_of_held_out_photographs_is_reconstructed() -> None:
    weights = Weights.from_file((FOLDER / "deepfuse.safetensors").read_bytes(), "deepfuse")
    module = load_autoencoder("deepfuse", weights)
    for name in set(HELD_OUT) - FLAT:
        image = decode_image((Path(skimage.__file__).parent / "data" / name).read_bytes())
        gray = torch.tensor(image if image.ndim == 2 else luma(image))[None, None].float()
        with torch.inference_mode():
            assert structure(module(gray), gray) >= LEAST_STRUCTURE, name
