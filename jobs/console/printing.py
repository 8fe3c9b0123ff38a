"""Safe output of untrusted text on a terminal."""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_DEFAULT_ERRORS = ("strict", "surrogateescape", "backslashreplace")
"""What Python does with such characters, unless PYTHONIOENCODING says something else."""
_PLAIN = "irfuse.plain"
_REPLACED = str.maketrans("↑↓±–—…×†·✓█░", "^v~--.x+.*#-")


def printable(text: str) -> str:
    """Return text with control characters and other invisible characters escaped.

    These include line breaks, escape sequences of terminals, and marks that change the direction of
    writing.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def use_plain_characters(*streams: TextIO) -> None:
    """Replace what the encoding of a stream lacks, instead of failing.

    Characters of tables have a replacement of one character each, so that columns stay aligned, and
    those of names are escaped.
    """
    codecs.register_error(_PLAIN, _replace_unencodable)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _DEFAULT_ERRORS:
            stream.reconfigure(errors=_PLAIN)


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in part.translate(_REPLACED))
    return "".join(escaped), error.end


def print_lines(console: Console, *lines: str) -> None:
    """Print lines of untrusted text, which are not cut at the width of the terminal."""
    for line in lines:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
