"""Texts that are represented by numbers: 8 bytes each, whatever their length.

Python's hash of texts has a random key, so collisions cannot be provoked, and among ten million
texts there is one with a probability of 3e-6.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class HashedTexts:
    """A set of texts, of which only membership can be asked.

    Args:
        texts: The texts.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._hashes = _hash_all(texts)
        self._hashes.sort()

    def __contains__(self, text: object) -> bool:
        place = np.searchsorted(self._hashes, hash(text))
        return bool(place < len(self._hashes) and self._hashes[place] == hash(text))

    def hold(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each of many texts is in the set."""
        if not len(self._hashes):
            return np.zeros(len(texts), bool)
        hashes = _hash_all(texts)
        places = np.searchsorted(self._hashes, hashes)
        found: NDArray[np.bool_] = self._hashes.take(places, mode="clip") == hashes
        return found


def _hash_all(texts: Iterable[str]) -> NDArray[np.int64]:
    return np.frombuffer(array("q", map(hash, texts)), np.int64)


def changes(values: NDArray[np.signedinteger[Any]]) -> NDArray[np.bool_]:
    """Return whether each value differs from the one before it, as the first does."""
    return np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1])
