"""Publications that define methods and metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paper:
    """The publication that defines a method or a metric."""

    authors: str
    title: str
    venue: str
    year: int
    link: str
    """URL of the DOI or of the preprint."""
    text: str = ""
    """The publication as it was cited, if its parts are not known."""

    @classmethod
    def from_text(cls, text: str) -> Paper:
        """Return a publication that is cited in words; the year is 0 if it states none.

        >>> Paper.from_text("Tang et al. 2022, https://doi.org/10.1016/j.inffus.2021.12.004").year
        2022
        """
        year = re.search(r"\b(19|20)\d\d\b", text)
        link = re.search(r"https?://\S+", text)
        return cls("", "", "", int(year[0]) if year else 0, link[0] if link else "", text)

    @property
    def citation(self) -> str:
        """The publication in one sentence."""
        return self.text or f"{self.authors}, {self.title}, {self.venue}, {self.year}"
