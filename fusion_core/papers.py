"""Publications that define methods and metrics."""

from __future__ import annotations

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

    @property
    def citation(self) -> str:
        """The publication in one sentence."""
        return f"{self.authors}, {self.title}, {self.venue}, {self.year}"
