"""Glob patterns of paths, and the text that their wildcards stand for."""

from __future__ import annotations

import re

from cluster.collections.names import has_image_extension

_WILDCARD = re.compile(r"\*\*/|\*+|\?|\[!?\]?[^\]]*\]")


class Glob:
    """A pattern of paths, or a folder, which stands for all images below it.

    `*` and `?` stand for text without `/`, `[…]` for one of several characters, and `**/` for any
    number of folders.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        path = text.removeprefix("./").rstrip("/")
        if not path.endswith(("*", "?", "]")) and not has_image_extension(path):
            path = f"{path}/**/*" if path not in ("", ".") else "**/*"
        self._regex = re.compile(_translate(path))

    def name_of(self, key: str) -> str | None:
        """Return the text of a key in place of the wildcards, or None if it does not match.

        The texts of several wildcards are joined by `/`, and an extension does not count.

        >>> Glob("night/*/IR_*.png").name_of("night/s1/IR_07.png")
        's1/07'
        >>> Glob("thermal").name_of("thermal/s1/07.png")
        's1/07'
        """
        found = self._regex.fullmatch(key)
        if found is None:
            return None
        name = "/".join(part for text in found.groups() if (part := text.strip("/")))
        return name.rpartition(".")[0] if has_image_extension(name) else name


def _translate(glob: str) -> str:
    """Return the regular expression of a glob, with a group for each wildcard."""
    parts, end = [], 0
    for wildcard in _WILDCARD.finditer(glob):
        parts.append(re.escape(glob[end : wildcard.start()]))
        end = wildcard.end()
        text = wildcard[0]
        if text == "**/":
            parts.append("((?:[^/]+/)*)")
        elif text.startswith("*"):
            parts.append("([^/]*)")
        elif text == "?":
            parts.append("([^/])")
        else:
            inside = text[1:-1].replace("\\", r"\\").replace("[", r"\[")
            negated = inside.startswith("!")
            parts.append(f"([{'^/' if negated else ''}{inside[negated:]}])")
    return "".join([*parts, re.escape(glob[end:])])
