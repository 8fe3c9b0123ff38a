"""The files of a collection that are in no pair and that nobody misses, by reason."""

from __future__ import annotations

from collections import Counter

BY_NAME, COLOUR_LABELS, OTHER_FORMATS = range(3)
"""The stages of a search, in which files are ignored one after the other."""


class Ignored:
    """Ignored files, counted by reason, with the first one as an example."""

    def __init__(self) -> None:
        self.number: Counter[str] = Counter()
        """Number of files per reason."""
        self.first: dict[str, tuple[int, str, str]] = {}
        """Stage, folder and name of the first file per reason; in the first stage, the whole path
        takes the place of the folder."""

    def add(self, reason: str, key: str, count: int = 1, stage: int = BY_NAME) -> None:
        """Add files of one reason, of which only the first of all may become the example."""
        self.number[reason] += count
        if reason not in self.first:
            cut = len(key) if stage == BY_NAME else key.rfind("/") + 1
            self.first[reason] = stage, key[:cut], key[cut:]

    def update(self, other: Ignored) -> None:
        """Add the files of another part of the collection."""
        self.number.update(other.number)
        for reason, example in other.first.items():
            self.first[reason] = min(example, self.first.get(reason, example))

    def counts(self) -> dict[str, int]:
        """Return the number of files per reason, in the order of the examples."""
        return {reason: self.number[reason] for reason in self.examples()}

    def examples(self) -> dict[str, str]:
        """Return one file per reason: the first in the earliest stage."""
        found = sorted(self.first.items(), key=lambda item: item[1])
        return {reason: folder + name for reason, (_, folder, name) in found}
