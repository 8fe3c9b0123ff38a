"""The memory that a worker is estimated to take."""

import pytest
from support.records import method_origin, worker_config

from cluster.collections.frozen_manifest import FrozenInfo
from cluster.runs.memory import estimate_memory
from cluster.storage.store import Store
from fusion_core.networks.weights import Weights

INFO = FrozenInfo(rows=1, digest="")


def estimate(method: str, *, weights: Weights | None = None, max_pixels: int = 2**26) -> int:
    """Estimate for a method in gigabytes."""
    origin = method_origin(method=method)
    config = worker_config(
        Store("memory://run"), INFO, weights=weights, origin=origin, max_pixels=max_pixels
    )
    return estimate_memory(config)


@pytest.mark.parametrize(
    ("method", "per_pixel"),
    # Growth of the unshared memory of fusing with the pixels of a pair, with the defaults.
    [("msdnet", 422), ("convsr", 2397), ("jsr", 1197), ("jsrsd", 2231)],
)
def test_an_estimate_grows_with_the_pixels_as_was_measured(method: str, per_pixel: float) -> None:
    small, large = estimate(method, max_pixels=640 * 480), estimate(method)
    assert per_pixel < (large - small) / (1280 * 1024 - 640 * 480) < 1.25 * per_pixel


@pytest.mark.parametrize(
    ("method", "measured"),
    # Largest resident memory of fusing and scoring a pair of 1280x1024 pixels with the defaults.
    [
        ("densefuse", 1.13e9),
        ("gtf", 1.21e9),
        ("gff", 1.46e9),
        ("hmsd_gf", 1.52e9),
        ("fusiongan", 1.94e9),
    ],
)
def test_an_estimate_is_what_the_method_was_measured_to_take(method: str, measured: float) -> None:
    assert measured < estimate(method) < 1.25 * measured


def test_weights_count_four_times_and_small_pairs_take_less() -> None:
    known = estimate("densefuse")
    weights = Weights.from_file(bytes(1_000_000), "w.pt")
    assert estimate("densefuse", weights=weights) == known + 4_000_000
    assert estimate("densefuse", max_pixels=640 * 480) == known - 300 * (1280 * 1024 - 640 * 480)


def test_a_method_of_the_users_own_counts_as_an_ordinary_one() -> None:
    assert estimate("own.py:fuse") == estimate("densefuse")
