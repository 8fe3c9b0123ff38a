"""What the commands of the measurements share: how a report is printed, and an error told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

from cyclopts import App, Parameter
from pydantic import BaseModel
from rich.console import Console

from fusion_core.errors import IrfuseError

AnyReport = TypeVar("AnyReport", bound=BaseModel)
JsonOutput = Annotated[bool, Parameter(name="--json", negative=())]


def show(
    report: AnyReport, print_report: Callable[[Console, AnyReport], None], *, as_json: bool
) -> None:
    """Print a report as a table or as JSON."""
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        print_report(Console(), report)


def run_app(app: App) -> None:
    """Run a command; an error that irfuse raises on purpose becomes one sentence and status 1."""
    try:
        app()
    except IrfuseError as error:
        sys.exit(f"Error: {error}")
