"""Names of files and methods as text in LaTeX and in Markdown."""

from __future__ import annotations

from jobs.console.printing import printable

_LATEX_SPECIAL = str.maketrans({
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
})  # fmt: skip
_MARKDOWN_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\|*_`<>[]"})


def escape_latex(text: str) -> str:
    r"""Return text with the special characters of LaTeX escaped.

    >>> escape_latex("MI_a & 5 %")
    'MI\\_a \\& 5 \\%'
    """
    return printable(text).translate(_LATEX_SPECIAL)


def escape_markdown(text: str) -> str:
    """Return text with the special characters of Markdown escaped."""
    return printable(text).translate(_MARKDOWN_SPECIAL)
