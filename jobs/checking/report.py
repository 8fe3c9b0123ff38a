"""Report of the checks of a method or metric."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from fusion_core.extensions.outcomes import Outcome


class CheckResult(Outcome):
    """Result of one check, with its name."""

    name: str
    """Name of the check."""
    seconds: float = 0.0
    """Time that it took."""


class CheckReport(BaseModel):
    """Result of `irfuse check-method` and `irfuse check-metric`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    target: str
    """Name of the method or metric."""
    digest: str | None
    """SHA-256 of its code; None for one of irfuse."""
    origin: dict[str, Any]
    """Where its code comes from."""
    checks: list[CheckResult]
    """Results of the checks, in their order."""

    @property
    def loaded(self) -> bool:
        """Whether the code could be loaded."""
        return self.checks[0].status == "passed"

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [check.name for check in self.checks if check.status == "failed"]
