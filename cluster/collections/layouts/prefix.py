"""A modality word in front of the names in one folder: `IR1.png` and `VIS1.png`."""

from __future__ import annotations

from collections import Counter

from cluster.collections.layouts.stems import StemReading, pair_readings
from cluster.collections.layouts.unmatched import Unmatched
from cluster.collections.layouts.words import (
    IR_WORDS,
    SEPARATORS,
    VIS_WORDS,
    Modality,
    Reading,
    modality_of,
    pattern,
)
from cluster.collections.names import fold

_PREFIX = pattern(rf"(?:({IR_WORDS})|({VIS_WORDS}))(?=[_\- 0-9]|\Z)")


def match(images: Unmatched) -> None:
    """Match the text after the prefix, then less strictly if the match is unambiguous.

    The less strict steps are for TNO, where the two names of a pair end differently
    (`IR_meting003_g`, `VIS_meting003_r`). They count all files of the folder, matched or not,
    because a wrong pair is worse than a missing one.
    """
    for folder, stems in images.folders.items():
        readings = [(stem, one) for stem in stems if (one := _read(stem)) is not None]
        pair_readings(images, folder, readings)
        if len({one.modality for stem, one in readings if stem in stems}) < 2:
            continue
        trimmed = [(stem, _without_letter(one)) for stem, one in readings]
        pair_readings(images, folder, _only_ones(trimmed))
        if images.surroundings is None or images.surroundings.has_two_prefixed(folder):
            whole_folder = [(stem, one._replace(key="")) for stem, one in trimmed]
            pair_readings(images, folder, _only_ones(whole_folder))


def modality_by_prefix(stem: str) -> Modality | None:
    """Return the modality that a stem has by its prefix, if any."""
    word = _PREFIX.match(stem)
    return None if word is None else modality_of(word)


def _read(stem: str) -> Reading | None:
    """Return the reading of a stem such as `IR12`, `VIS_x` or a bare `thermal`."""
    word = _PREFIX.match(stem)
    if word is None:
        return None
    rest = stem[word.end() :]
    return Reading(modality_of(word), 0, fold(rest), rest.lstrip(SEPARATORS), "")


def _without_letter(reading: Reading) -> Reading:
    """Return a reading without a trailing `_` and single letter (`meting003_g`: `meting003`)."""
    name = reading.name
    if len(name) > 2 and name[-2] == "_" and name[-1].isalpha():
        name = name[:-2]
    return reading._replace(key=fold(name), name=name)


def _only_ones(readings: list[StemReading]) -> list[StemReading]:
    """Return the readings whose key is unique within their modality."""
    number = Counter((one.modality, one.key) for _, one in readings)
    return [(stem, one) for stem, one in readings if number[one.modality, one.key] == 1]
