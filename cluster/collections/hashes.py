"""Texts that are represented by numbers: 8 bytes each, whatever their length.

Python's hash of texts has a random key, so collisions cannot be provoked, and among ten million
texts there is one with a probability of 3e-6.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class HashedTexts:
    """A set of texts, of which only membership can be asked.

    Args:
        texts: The texts.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._hashes = np.sort(np.frombuffer(array("q", map(hash, texts)), np.int64))

    def __contains__(self, text: object) -> bool:
        place = np.searchsorted(self._hashes, hash(text))
        return bool(place < len(self._hashes) and self._hashes[place] == hash(text))


def changes(values: NDArray[np.signedinteger[Any]]) -> NDArray[np.bool_]:
    """Return whether each value differs from the one before it, as the first does."""
    return np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1])
