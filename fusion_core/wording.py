"""Numbers of things in sentences."""

from __future__ import annotations


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun, which has an s unless there is one.

    >>> count_of(1, "pair"), count_of(1200, "pair")
    ('1 pair', '1200 pairs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def gigabytes(size: int) -> str:
    """Return a number of bytes in gigabytes.

    >>> gigabytes(1_290_000_000), gigabytes(64_000_000_000)
    ('1.3 GB', '64.0 GB')
    """
    return f"{size / 1e9:.1f} GB"
