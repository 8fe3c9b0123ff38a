"""Numbers of things, times, and names in sentences."""

from __future__ import annotations

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun, which has an s unless there is one.

    >>> count_of(1, "pair"), count_of(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def bytes_of(size: float) -> str:
    """Return a number of bytes in the unit that fits it.

    >>> bytes_of(812), bytes_of(20_400), bytes_of(1_290_000_000), bytes_of(64_000_000_000)
    ('812 B', '20.4 kB', '1.3 GB', '64.0 GB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def duration_of(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> duration_of(0.4), duration_of(59), duration_of(184), duration_of(4500), duration_of(270_000)
    ('0 s', '59 s', '3 min', '1 h 15 min', '3 d 3 h')
    """
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    minutes = round(seconds / _MINUTE)
    if minutes * _MINUTE < _HOUR:
        return f"{minutes} min"
    if minutes * _MINUTE < _DAY:
        return _two(*divmod(minutes, 60), "h", "min")
    return _two(*divmod(round(seconds / _HOUR), 24), "d", "h")


def time_since(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was; one in the future, by another clock, is now.

    >>> time_since(datetime(2026, 1, 1, 8, 0), datetime(2026, 1, 1, 9, 15))
    '1 h 15 min ago'
    """
    return f"{duration_of(max(0.0, (now - moment).total_seconds()))} ago"


def encodable(text: str) -> str:
    r"""Return a text with escapes for what no encoding has, such as parts of names of files.

    >>> print(encodable("l\udcffog"))
    l\udcffog
    """
    return text.encode(errors="backslashreplace").decode()


def _two(large: int, small: int, unit: str, smaller: str) -> str:
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"
