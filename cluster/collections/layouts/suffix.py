"""A modality word at the end of the names in one folder: `010001_ir.jpg` and `010001_vi.jpg`."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.collections.layouts.stems import match_stems
from cluster.collections.layouts.unmatched import Unmatched
from cluster.collections.layouts.words import IR_WORDS, VIS_WORDS, Reading, modality_of, pattern
from cluster.collections.names import fold

_SUFFIX = pattern(rf"[_\- ](?:({IR_WORDS}|t|previewdata)|({VIS_WORDS}|co))\Z")


def match(images: Unmatched) -> None:
    """Match the text in front of the suffix."""
    match_stems(images, _readings)


def _readings(stem: str) -> Iterator[Reading]:
    """Yield the reading of a stem such as `010001_ir` or `FLIR_00002_PreviewData`."""
    word = _SUFFIX.search(stem)
    if word and word.start():
        rest = stem[: word.start()]
        # The separator is part of the key: `x_ir` belongs to `x_vi` rather than to `x-vi`.
        yield Reading(modality_of(word), 0, fold(rest) + stem[word.start()], rest, "")
