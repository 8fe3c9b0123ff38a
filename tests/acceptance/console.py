"""Common functions of the commands, which print a report or an error."""

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
    """Run a command, and report an `IrfuseError` as one message with exit status 1."""
    try:
        app()
    except IrfuseError as error:
        sys.exit(f"Error: {error}")
