"""Messages for unknown names, with the names that the user may have meant.

This module imports only the standard library, so that options can use it without importing torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST_SUGGESTIONS = 3
_LEAST_SIMILARITY = 0.7
_SHORTEST_PREFIX = 2
_MOST_LISTED = 100


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message about a name that does not exist.

    Args:
        kind: What the name stands for, in the singular, such as `method`.
        name: The unknown name.
        known: All names that exist.

    Returns:
        The names that are similar, or all names if none is.

    >>> unknown_name("method", "densfuse", ["densefuse", "average"])
    "Unknown method 'densfuse'; did you mean densefuse?"
    >>> unknown_name("method", "x", ["densefuse", "average"])
    "Unknown method 'x'; the methods are: densefuse, average"
    """
    names = list(known)
    similar = similar_names(name, names)
    if similar:
        return f"Unknown {kind} {name!r}; did you mean {_either(similar)}?"
    plural = kind if kind.endswith("s") else f"{kind}s"
    listed = ", ".join(names[:_MOST_LISTED])
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"Unknown {kind} {name!r}; the {plural} are: {listed}{more}"


def invalid_input(message: str, given: object) -> str:
    """Return pydantic's message about a value, with the choice that the user may have meant.

    >>> invalid_input("Input should be 'clip' or 'minmax'", "minmx")
    "Input should be 'clip' or 'minmax', but got 'minmx'; did you mean minmax?"
    >>> invalid_input("Input should be greater than 0", "-1")
    "Input should be greater than 0, but got '-1'"
    """
    choices = re.findall(r"'([^']*)'", message)
    similar = similar_names(given, choices) if isinstance(given, str) else []
    suggestion = f"; did you mean {_either(similar)}?" if similar else ""
    return f"{message}, but got {given!r}{suggestion}"


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three names that a user may have meant, the most similar first.

    Names that differ only by case, or by hyphens for underscores, are the only suggestions.

    >>> similar_names("ms-ssim", ["EN", "SSIM_a", "MS_SSIM"])
    ['MS_SSIM']
    >>> similar_names("fmi", ["EN", "FMI_w", "FMI_dct"])
    ['FMI_w', 'FMI_dct']
    """
    from difflib import get_close_matches

    plain = _plain(name)
    by_plain: dict[str, list[str]] = {}
    for candidate in known:
        by_plain.setdefault(_plain(candidate), []).append(candidate)
    if plain in by_plain:
        return by_plain[plain][:_MOST_SUGGESTIONS]
    close = get_close_matches(plain, by_plain, n=_MOST_SUGGESTIONS, cutoff=_LEAST_SIMILARITY)
    starting = [
        candidate
        for candidate in by_plain
        if candidate.startswith(plain) and len(plain) >= _SHORTEST_PREFIX
    ]
    found = dict.fromkeys((*close, *starting))
    return [name for candidate in found for name in by_plain[candidate]][:_MOST_SUGGESTIONS]


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


def _either(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
