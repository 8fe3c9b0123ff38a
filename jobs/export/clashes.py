"""Names of exported files that are equal, also where file systems ignore letter case."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict


class Clash(BaseModel):
    """Names that are equal, or that file systems without letter case take for equal."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    names: list[str]
    """The name, or the names that differ in letter case only."""
    pairs: list[str]
    """The pairs that they belong to; none for files that hold many pairs."""


class Clashes:
    """Finds clashes among names.

    >>> clashes = Clashes()
    >>> for name, pair in (("fused/a.png", "x/a"), ("fused/A.png", "x/A"), ("fused/b.png", "x/b")):
    ...     clashes.add(name, [pair])
    >>> [clash.names for clash in clashes.found()]
    [['fused/a.png', 'fused/A.png']]
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, Sequence[str]]] = {}
        self._clashes: dict[str, list[tuple[str, Sequence[str]]]] = {}

    def add(self, name: str, pairs: Sequence[str] = (), *, exact: bool = False) -> None:
        """Add a name.

        Args:
            name: The name.
            pairs: The pairs that it belongs to.
            exact: Whether it is no name of a file, so that its letter case always counts.
        """
        # Some file systems also take composed and decomposed accents for equal.
        folded = name if exact else unicodedata.normalize("NFC", name).casefold()
        own = (name, pairs)
        if folded in self._first:
            self._clashes.setdefault(folded, [self._first[folded]]).append(own)
        else:
            self._first[folded] = own

    def found(self) -> Iterator[Clash]:
        """Yield the clashes."""
        for group in self._clashes.values():
            yield Clash(
                names=_unique(name for name, _ in group),
                pairs=_unique(pair for _, pairs in group for pair in pairs),
            )


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
