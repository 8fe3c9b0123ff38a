"""Safe output of untrusted text on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text with control characters and other invisible characters escaped.

    These include line breaks, escape sequences of terminals, and marks that change the direction of
    writing.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
