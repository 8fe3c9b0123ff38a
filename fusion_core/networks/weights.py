"""Weights of networks as bytes or a seed, identified by a digest; they do not need torch."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from fusion_core.errors import WeightsError
from fusion_core.networks.known_weights import bundled_weights

_RANDOM = re.compile(r"random:(\d+)")
_LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class Weights:
    """The weights of a network, as the bytes of a file or a seed."""

    source: str
    """File name or URL as the user gave it, or `random:SEED`."""
    data: bytes | None = None
    """The file's bytes; None for random weights."""
    seed: int | None = None
    """Seed of random weights; None for a file."""
    digest: str | None = None
    """SHA-256 of the file that `data` is a part of; None if it is all of it."""

    @classmethod
    def from_file(cls, data: bytes, source: str) -> Weights:
        """Wrap the bytes of a safetensors file or of a PyTorch state dict."""
        return cls(source=source, data=data)

    @classmethod
    def from_seed(cls, seed: int) -> Weights:
        """Return untrained weights that depend on the seed alone."""
        return cls(source=f"random:{seed}", seed=seed)

    @property
    def trained(self) -> bool:
        """Whether the weights are trained rather than random."""
        return self.seed is None

    @property
    def sha256(self) -> str:
        """Hex digest of the file, or `random:SEED`."""
        if self.data is None:
            return self.source
        return self.digest or hashlib.sha256(self.data).hexdigest()


def read_bundled_weights(name: str) -> Weights:
    """Read weights that irfuse includes, such as `densefuse`.

    Raises:
        WeightsError: The file is missing, or not the one that its card describes.
    """
    return Weights.from_file(bundled_weights(name).read(), f"irfuse:{name}")


def parse_random_weights(source: str) -> Weights | None:
    """Return seeded weights for `random:SEED`, or None for any other source.

    Raises:
        WeightsError: The source starts with `random:` but has no valid seed.
    """
    match = _RANDOM.fullmatch(source)
    if match and int(match[1]) <= _LARGEST_SEED:
        return Weights.from_seed(int(match[1]))
    if source.startswith("random:"):
        raise WeightsError(
            f"Expected random:SEED with a whole number below 2^64, but got {source!r}"
        )
    return None
