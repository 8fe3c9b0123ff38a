"""Results of the checks of methods and metrics of the user's own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["passed", "warning", "failed", "skipped"]


class Outcome(BaseModel):
    """Result of one check."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    status: Status
    """`warning` is what may be intended; `skipped` what could not be checked."""
    value: float | str | None = None
    """What was found."""
    limit: float | str | None = None
    """What is accepted."""
    hint: str = ""
    """What it means, and the remedy."""


def passed(value: float | str | None = None, limit: float | str | None = None) -> Outcome:
    """Return the result of a check that passed."""
    return Outcome(status="passed", value=value, limit=limit)


def failed(
    hint: str, value: float | str | None = None, limit: float | str | None = None
) -> Outcome:
    """Return the result of a check that failed."""
    return Outcome(status="failed", value=value, limit=limit, hint=hint)


def warned(
    hint: str, value: float | str | None = None, limit: float | str | None = None
) -> Outcome:
    """Return the result of a check that found what may be intended."""
    return Outcome(status="warning", value=value, limit=limit, hint=hint)


def skipped(hint: str) -> Outcome:
    """Return the result of a check that could not be made."""
    return Outcome(status="skipped", hint=hint)
