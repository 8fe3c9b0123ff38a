"""Names from elsewhere on a terminal: shown as they are spelt, never obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text with control characters, and others that cannot be seen, as escapes.

    Among them are line breaks, the escape sequences of terminals, and marks that turn the direction
    of writing.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
