"""Synthetic registered pairs for the demo, tests and benchmarks: a street with warm figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def synthetic_pair(height: int, width: int, *, seed: int, colour: bool = True) -> Scene:
    """Generate a scene as an infrared and a visible image.

    The visible image has sky, facades and texture. The infrared image has the same outlines, little
    texture, and warm figures that are hardly visible in the other image.

    Args:
        height: Height in pixels, at least 1.
        width: Width in pixels, at least 1.
        seed: Seed of the scene.
        colour: Whether the visible image is RGB.

    Returns:
        Infrared `(H, W)` and visible `(H, W, 3)` or `(H, W)`, uint8.

    >>> [image.shape for image in synthetic_pair(4, 6, seed=0)]
    [(4, 6), (4, 6, 3)]
    """
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = y / max(1, height - 1), x / max(1, width - 1)
    horizon = generator.uniform(0.35, 0.55)
    visible = np.where(y < horizon, 205 - 60 * y, 90 + 40 * y)
    infrared = np.where(y < horizon, 35 + 10 * y, 85 - 20 * y)
    for _ in range(generator.integers(3, 7)):
        left, breadth, top = generator.uniform((0, 0.08, 0.1), (0.9, 0.25, 0.4))
        inside = (x >= left) & (x < left + breadth) & (y >= top) & (y < horizon + 0.12)
        windows = (np.sin(x * 90) > 0.3) & (np.sin(y * 80) > 0.2)
        wall = generator.uniform(60, 170)
        visible = np.where(inside, np.where(windows, wall * 0.5, wall), visible)
        infrared = np.where(inside, np.where(windows, 118, 96), infrared)
    visible = visible + _texture(generator, height, width) * np.where(y < horizon, 5, 22)
    for _ in range(generator.integers(2, 6)):
        centre_x, centre_y = generator.uniform((0.05, horizon), (0.95, 0.9))
        size = 0.03 + 0.08 * (centre_y - horizon)
        body = ((x - centre_x) / size) ** 2 + ((y - centre_y) / (2.4 * size)) ** 2
        figure = np.exp(-(body**2))
        infrared = infrared + figure * generator.uniform(90, 150)
        visible = visible * (1 - 0.35 * figure)
    infrared = infrared + generator.normal(0, 2.0, (height, width))
    visible = visible + generator.normal(0, 1.5, (height, width))
    if not colour:
        return _to_bytes(infrared), _to_bytes(visible)
    tint = np.where((y < horizon)[..., None], (0.92, 1.0, 1.12), (1.04, 1.0, 0.9))
    return _to_bytes(infrared), _to_bytes(visible[..., None] * tint)


def _texture(generator: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Return the sum of noise over octaves, in about -1..1."""
    total = np.zeros((height, width))
    for octave in range(4):
        step = 2 ** (3 - octave)
        shape = (-(-height // step), -(-width // step))
        noise = generator.normal(0, 0.5, shape).repeat(step, axis=0).repeat(step, axis=1)
        total += noise[:height, :width] / (octave + 1)
    return total


def _to_bytes(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
