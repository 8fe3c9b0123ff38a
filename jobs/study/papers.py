"""The comparison tables of published papers, as study files that are part of irfuse."""

from __future__ import annotations

from importlib import resources

from fusion_core.errors import InvalidValueError
from fusion_core.suggestions import unknown_name

PAPER_PREFIX = "paper:"


def list_papers() -> list[str]:
    """Return the names of the papers' studies."""
    folder = resources.files("jobs.study").joinpath("papers")
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_paper(source: str) -> str:
    """Return the text of the study file that `paper:NAME` stands for.

    Raises:
        InvalidValueError: There is no such study.
    """
    name = source.removeprefix(PAPER_PREFIX)
    known = list_papers()
    if name not in known:
        raise InvalidValueError(unknown_name("study of a paper", name, known))
    return resources.files("jobs.study").joinpath("papers", f"{name}.toml").read_text("utf-8")
