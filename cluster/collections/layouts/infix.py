"""A modality word within the names in one folder: `set00_V000_lwir_I00000.jpg`."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.collections.layouts.stems import match_stems
from cluster.collections.layouts.unmatched import Unmatched
from cluster.collections.layouts.words import (
    HOLE,
    IR_WORDS,
    SEPARATORS,
    VIS_WORDS,
    Reading,
    modality_of,
    pattern,
)
from cluster.collections.names import fold

_INFIX = pattern(rf"(?<=[_\- ])(?:({IR_WORDS})|({VIS_WORDS}))(?=[_\- ])")


def match(images: Unmatched) -> None:
    """Match the text around the infix."""
    match_stems(images, _readings)


def _readings(stem: str) -> Iterator[Reading]:
    """Yield a reading for each modality word within a stem: `set00_V000_lwir_I00000`."""
    for word in _INFIX.finditer(stem):
        before, after = stem[: word.start()], stem[word.end() + 1 :]
        subset = before.rstrip(SEPARATORS)
        if subset and after:
            key = fold(before) + HOLE + fold(stem[word.end() :])
            yield Reading(modality_of(word), word.start(), key, before + after, subset)
