"""The entry point, which reports an error as one message and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from cyclopts import CycloptsError, UnusedCliTokensError
from pydantic import ValidationError

from cluster.session import end_sessions
from fusion_core.errors import InvalidValueError, IrfuseError
from jobs.console.arguments import explain_invalid
from jobs.console.commands import build_app
from jobs.console.interrupts import handled_interrupts
from jobs.console.logs import STATE, print_error
from jobs.console.printing import printable, use_plain_characters

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Environment variable with which torch keeps large tensors in huge pages, on Linux. Where a
command computes in this process, fusing takes 0.85 of the time; workers have their own settings."""
_STOPPED = "Stopped. Committed shards are kept; run the same command again to resume."


def main() -> None:
    """Run the command line."""
    os.environ.setdefault(HUGE_PAGES, "1")
    try:
        _run()
    finally:
        end_sessions()


def _run() -> None:
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    STATE.json_on_stderr = False
    use_plain_characters(sys.stdout, sys.stderr)
    try:
        with handled_interrupts():
            build_app()(
                [argument for argument in arguments if argument != "--debug"],
                exit_on_error=False,
                print_error=False,
            )
    except KeyboardInterrupt as interrupt:
        stopped = str(interrupt) or _STOPPED
        if STATE.json_on_stderr:
            print_error("KeyboardInterrupt", stopped)
        else:
            print(stopped, file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001
        if isinstance(error, BrokenPipeError) and _output_is_closed():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_FAILED)
        if debug:
            _show_traceback()
        _fail(error)


def _output_is_closed() -> bool:
    """Whether the reader of standard output, such as `head`, has ended."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


def _show_traceback() -> None:
    from cluster.storage import redact_text

    lines = redact_text(traceback.format_exc()).splitlines()
    print("\n".join(map(printable, lines)), file=sys.stderr)


def _fail(error: Exception) -> NoReturn:
    from cluster.storage import redact_text

    invalid = error if isinstance(error, ValidationError) else error.__cause__
    if isinstance(invalid, ValidationError) and isinstance(error, (ValidationError, CycloptsError)):
        error = explain_invalid(invalid)
    if isinstance(error, UnusedCliTokensError):
        # The arguments themselves may be secrets.
        count = len(error.unused_tokens or ())
        error = InvalidValueError(
            f"Unexpected arguments: {count}; repeat an option for each of its values, and quote "
            "values with spaces or wildcards"
        )
    if isinstance(error, (IrfuseError, CycloptsError)):
        message = str(error)
    else:
        message = (
            f"an unexpected error occurred ({type(error).__name__}: {error}); run the command "
            "again with --debug to see the traceback"
        )
    usage = isinstance(error, (InvalidValueError, CycloptsError))
    if STATE.json_on_stderr:
        print_error(type(error).__name__, message)
    else:
        print(f"Error: {printable(redact_text(message))}", file=sys.stderr)
    sys.exit(EXIT_USAGE if usage else EXIT_FAILED)
