"""Safe output of untrusted text on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def printable(text: str) -> str:
    """Return text with control characters and other invisible characters escaped.

    These include line breaks, escape sequences of terminals, and marks that change the direction of
    writing.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_lines(console: Console, *lines: str) -> None:
    """Print lines of untrusted text, which are not cut at the width of the terminal."""
    for line in lines:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
