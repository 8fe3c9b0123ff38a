"""The weights that irfuse finds by itself: where they come from, and whether they are intact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from fusion_core.errors import WeightsError
from fusion_core.files import require_regular_file
from fusion_core.networks.imagenet_files import IMAGENET_FILES, ImageNetFile

_BUNDLED = Path(__file__).parents[1] / "pretrained"
_MEGABYTE = 1_000_000
_SHOWN_DIGITS = 8
"""Digits of a digest in messages."""


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """Weights that irfuse includes, or that torchvision publishes."""

    name: str
    """Name such as `densefuse` or `ResNet50_Weights.IMAGENET1K_V1`."""
    source: str
    """Who trained and distributes them: `irfuse` or `torchvision`."""
    licence: str
    """Terms of use."""
    sha256: str
    """Digest of the file, or the beginning of it that torchvision publishes."""
    path: Path
    """Where the file is, or where it is put when it is downloaded."""
    megabytes: float
    """Size of the file."""
    url: str | None = None
    """Where the file is downloaded from; None if irfuse includes it."""

    @property
    def here(self) -> bool:
        """Whether the file is on this machine; reading says why if it cannot be read."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def read(self) -> bytes:
        """Read the file on this machine, and check its digest.

        Raises:
            WeightsError: The file cannot be read, or is another one.
        """
        with self._open() as file:
            data = file.read()
        self.check(hashlib.sha256(data).hexdigest())
        return data

    def verify(self) -> str:
        """Return the SHA-256 of the file on this machine.

        Raises:
            WeightsError: The file cannot be read, or is another one.
        """
        with self._open() as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        self.check(found)
        return found

    @contextmanager
    def _open(self) -> Iterator[BufferedReader]:
        try:
            require_regular_file(self.path)
            with self.path.open("rb") as file:
                yield file
        except OSError as error:
            raise WeightsError(
                f"Cannot read {self.name} at {self.path}: {error.strerror}"
            ) from None

    def check(self, sha256: str) -> None:
        """Check the digest of a file that stands for these weights.

        Raises:
            WeightsError: The file is another one.
        """
        if not sha256.startswith(self.sha256):
            remedy = "install irfuse again"
            if self.url:
                remedy = f"delete it, and it is downloaded again from {self.url}"
            raise WeightsError(
                f"{self.path} is damaged or was changed: its SHA-256 begins with "
                f"{sha256[:_SHOWN_DIGITS]}, not with {self.sha256[:_SHOWN_DIGITS]}; {remedy}"
            )


def read_weights_card(name: str) -> dict[str, Any]:
    """Read the card of weights that irfuse includes, with their training and licence.

    >>> read_weights_card("densefuse")["licence"]
    'Apache-2.0'
    """
    card: dict[str, Any] = json.loads((_BUNDLED / f"{name}.json").read_text())
    return card


def bundled_weights(name: str) -> KnownWeights:
    """Return weights that irfuse includes, with the digest that their card states.

    >>> bundled_weights("densefuse").here
    True
    """
    path = _BUNDLED / f"{name}.safetensors"
    card = read_weights_card(name)
    size = path.stat().st_size / _MEGABYTE if path.is_file() else 0.0
    return KnownWeights(name, "irfuse", card["licence"], card["sha256"], path, size)


def torchvision_weights(file: ImageNetFile) -> KnownWeights:
    """Return weights that torchvision publishes."""
    return KnownWeights(
        name=file.name,
        source="torchvision",
        licence="terms of torchvision and ImageNet",
        sha256=file.sha256_prefix,
        path=file.path,
        megabytes=file.megabytes,
        url=file.url,
    )


def list_known_weights() -> Iterator[KnownWeights]:
    """Yield all weights that irfuse includes, and those that torchvision publishes."""
    yield from (bundled_weights(card.stem) for card in sorted(_BUNDLED.glob("*.json")))
    yield from map(torchvision_weights, IMAGENET_FILES)
