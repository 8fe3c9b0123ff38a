"""Numbers of things in sentences."""

from __future__ import annotations


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun, which has an s unless there is one.

    >>> count_of(1, "pair"), count_of(1200, "pair")
    ('1 pair', '1200 pairs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
