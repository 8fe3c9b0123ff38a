"""Reports of the checks of methods and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from fusion_core.errors import ExtensionError, IrfuseError
from jobs.console.layout import print_text
from jobs.console.printing import printable

if TYPE_CHECKING:
    from jobs.checking.report import CheckReport, CheckResult
    from jobs.options import CheckMethodOptions, CheckMetricOptions

_MARKS = {"passed": "✓", "warning": "!", "failed": "✗", "skipped": "–"}
_STYLES = {"passed": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_NAME_WIDTH = 17


def print_checks(
    console: Console, report: CheckReport, options: CheckMethodOptions | CheckMetricOptions
) -> None:
    """Print a line per check, or JSON.

    Raises:
        ExtensionError: The code cannot be loaded.
        IrfuseError: Checks have failed; they are printed before.
    """
    if options.json_output:
        print(report.model_dump_json(indent=2))
    else:
        digest = f", SHA-256 {report.digest[:12]}…" if report.digest else ""
        print_text(console, f"{report.target}: {report.origin['kind'].replace('_', ' ')}{digest}")
        for check in report.checks:
            if not _follows(check):
                _print_check(console, check)
        others = [check.name for check in report.checks if _follows(check)]
        if others:
            print_text(console, f"– not checked: {', '.join(others)}")
    if not report.loaded:
        raise ExtensionError(report.checks[0].hint)
    if report.failed:
        count = len(report.failed)
        raise IrfuseError(
            f"{count} {'check' if count == 1 else 'checks'} failed: {', '.join(report.failed)}"
        )


def _follows(check: CheckResult) -> bool:
    """Whether a check was skipped because another one failed."""
    return check.status == "skipped" and check.hint.startswith("see ")


def _print_check(console: Console, check: CheckResult) -> None:
    line = Text(f"{_MARKS[check.status]} ", _STYLES[check.status])
    found = _shorten(check.value)
    limit = f" (limit {_shorten(check.limit)})" if check.limit is not None else ""
    text = f"{found}{limit}" if found else ""
    line.append(f"{check.name:{_NAME_WIDTH}}", "bold" if check.status == "failed" else "default")
    line.append(printable(f"{text}  {check.hint}".strip() if text else check.hint), "default")
    line.append(f"  {check.seconds:.1f} s" if check.seconds >= 0.1 else "", "dim")
    console.print(line, soft_wrap=True)


def _shorten(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.4g}"
