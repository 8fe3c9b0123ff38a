"""Ctrl-C and SIGTERM, whenever they come."""

import os
import signal
from pathlib import Path

import pytest
from support.cli import run_cli

from jobs.console.interrupts import check_interrupts, handled_interrupts

INTERRUPTED = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""


@pytest.mark.parametrize("module", ["ast", "cyclopts"])
def test_a_command_that_is_interrupted_while_it_is_imported_stops_without_a_traceback(
    tmp_path: Path, module: str
) -> None:
    (tmp_path / f"{module}.py").write_text(INTERRUPTED)
    result = run_cli("--version", env={"PYTHONPATH": str(tmp_path)}, timeout=50)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "Stopped.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_was_discarded_is_raised_again(number: signal.Signals) -> None:
    with handled_interrupts():
        check_interrupts()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            check_interrupts()


def test_the_handlers_of_the_calling_program_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with handled_interrupts():
        assert signal.getsignal(signal.SIGINT) not in before
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_signals_that_are_ignored_stay_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with handled_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
