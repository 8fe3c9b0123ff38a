"""Transfer of images to a device and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusion_core.images.devices import Uploaded, download, upload

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


IMAGES = [noise(0, 5, 7), noise(1, 5, 7, 3), noise(2, 4, 6)]


@pytest.mark.parametrize("device", DEVICES)
def test_images_of_different_shapes_arrive_unchanged(device: str) -> None:
    for image, found in zip(IMAGES, upload(IMAGES, device), strict=True):
        assert found.device.type == device
        assert np.array_equal(found.cpu().numpy(), image)


@pytest.mark.parametrize("device", DEVICES)
def test_a_read_only_image_is_copied(device: str) -> None:
    image = noise(3, 2, 2)
    image.flags.writeable = False
    (found,) = upload([image], device)
    found += 1
    assert np.array_equal(image, noise(3, 2, 2))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 7, 3)])
def test_a_batch_returns_as_arrays(device: str, shape: tuple[int, ...]) -> None:
    batch = noise(4, *shape)
    found = download(torch.from_numpy(batch).to(device))
    assert [image.flags.c_contiguous for image in found] == [True, True]
    assert np.array_equal(np.stack(found), batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_images_arrive_from_a_stream_of_their_own() -> None:
    stream = torch.cuda.Stream()
    waiting = [Uploaded([noise(seed, 512, 512)], "cuda", stream) for seed in range(8)]
    for seed, uploaded in enumerate(waiting):
        (found,) = uploaded.wait()
        assert np.array_equal((found + 0).cpu().numpy(), noise(seed, 512, 512))
