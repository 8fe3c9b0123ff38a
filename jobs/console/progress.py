"""Display of progress: a bar on a terminal, plain lines in logs, and none in the Python API."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBar
from rich.table import Column
from rich.text import Text

from fusion_core.wording import count_of
from jobs.console.interrupts import check_interrupts
from jobs.console.logs import logged, warned
from jobs.console.printing import printable
from jobs.options import MonitoredOptions
from jobs.progress import Progress

if TYPE_CHECKING:
    from cluster.runs import Snapshot

_PLAIN_EVERY_S = 10.0
_NARROWEST_BAR = 80


class _Pace:
    """Measures pairs per second since the first pair."""

    def __init__(self) -> None:
        self._since: tuple[float, int] | None = None

    def rate(self, rows: int) -> float:
        now = time.monotonic()
        if self._since is None:
            if rows:
                self._since = (now, rows)
            return 0.0
        spent = now - self._since[0]
        return (rows - self._since[1]) / spent if spent > 0 else 0.0


def _plan_text(rows: int, todo: int, finished: int, shards: int) -> str:
    plan = f"{count_of(rows, 'pair')} in {count_of(shards, 'shard')}"
    return f"{plan}; {finished} done, {count_of(todo, 'pair')} to do" if finished else plan


def _counts(snapshot: Snapshot, rate: float) -> str:
    parts = [
        f"{snapshot.failed} failed",
        f"{rate:.1f} pairs/s",
        count_of(snapshot.workers, "worker"),
    ]
    if snapshot.waiting:
        parts.append(f"{snapshot.waiting} starting")
    if snapshot.deaths:
        parts.append(f"{snapshot.deaths} died")
    if snapshot.withheld:
        parts.append(f"{snapshot.withheld} withheld for lack of memory")
    return ", ".join(parts)


class _Activity:
    """What is being done now, and since when."""

    def __init__(self) -> None:
        self.text = ""
        self._since: float | None = None

    def begin(self, text: str, *, timed: bool = True) -> bool:
        """Set the activity, and return whether it is another one than before."""
        if text == self.text:
            return False
        self.text, self._since = text, time.monotonic() if timed else None
        return True

    def with_time(self) -> str:
        """Return the activity with the seconds that it has taken, from the first one."""
        elapsed = int(time.monotonic() - self._since) if self._since is not None else 0
        return f"{self.text} ({elapsed} s)" if elapsed else self.text


class PlainProgress:
    """Prints a line for each activity, and every ten seconds, for logs."""

    def __init__(self) -> None:
        self._todo = 0
        self._pace = _Pace()
        self._activity = _Activity()
        self._printed_at = time.monotonic()

    def message(self, text: str) -> None:
        """Print a line; for the activity of the last message every ten seconds, with its time."""
        check_interrupts()
        if self._activity.begin(text):
            self._print(text)
        else:
            self._print_sometimes(self._activity.with_time())

    def note(self, text: str) -> None:
        """Print a line."""
        self._print(text)

    def planned(self, rows: int, todo: int, finished: int, shards: int) -> None:
        """Print the plan."""
        self._todo = todo
        self._pace = _Pace()
        self._print(_plan_text(rows, todo, finished, shards))

    def update(self, snapshot: Snapshot) -> None:
        """Print the counts every ten seconds, and until workers are ready what they do."""
        check_interrupts()
        rate = self._pace.rate(snapshot.rows)
        if snapshot.activity and not snapshot.workers:
            self.message(snapshot.activity)
        else:
            self._print_sometimes(f"{snapshot.rows}/{self._todo} pairs, {_counts(snapshot, rate)}")

    def steps(self, done: int, total: int, text: str) -> None:
        """Print the step every ten seconds."""
        check_interrupts()
        self._print_sometimes(f"{done}/{total} steps{', ' if text else ''}{text}")

    def _print_sometimes(self, text: str) -> None:
        """Print a line if ten seconds have passed since the last one."""
        if time.monotonic() - self._printed_at >= _PLAIN_EVERY_S:
            self._print(text)

    def _print(self, text: str) -> None:
        self._printed_at = time.monotonic()
        print(printable(text), file=sys.stderr, flush=True)


class _OneLine(ProgressColumn):
    """The activity, the number of pairs and the counts as one text, which is cut at its end."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Return the text."""
        done = "" if task.total is None else f" {task.completed:.0f}/{task.total:.0f}"
        counts, activity = task.fields["counts"], task.fields["activity"].with_time()
        return Text(f"{activity}{done}{', ' if counts else ''}{counts}")


class _ActivityColumn(ProgressColumn):
    """The activity, with its time."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return Text(task.fields["activity"].with_time())


def _columns(width: int) -> list[ProgressColumn]:
    """Return the columns of a bar, or of a narrow terminal the text alone."""
    if width < _NARROWEST_BAR:
        return [_OneLine()]
    return [
        _ActivityColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
        TimeRemainingColumn(),
    ]


class BarProgress:
    """Shows a progress bar on a terminal."""

    def __init__(self, console: Console) -> None:
        self._bar = RichBar(*_columns(console.width), console=console, transient=True)
        self._console = console
        self._activity = _Activity()
        self._activity.begin("starting")
        self._task = self._bar.add_task("", total=None, counts="", activity=self._activity)
        self._pace = _Pace()

    def message(self, text: str) -> None:
        """Show the activity in front of the bar, with its time."""
        check_interrupts()
        self._activity.begin(printable(text))

    def note(self, text: str) -> None:
        """Print the note above the bar."""
        self.print_line(text)

    def planned(self, rows: int, todo: int, finished: int, shards: int) -> None:
        """Print the plan above the bar and set its length."""
        self._pace = _Pace()
        self._console.print(_plan_text(rows, todo, finished, shards))
        self._bar.update(self._task, total=todo, completed=0)

    def update(self, snapshot: Snapshot) -> None:
        """Update the counts."""
        check_interrupts()
        if snapshot.workers:
            self._activity.begin("pairs", timed=False)
        elif snapshot.activity:
            self.message(snapshot.activity)
            return
        rate = self._pace.rate(snapshot.rows)
        self._bar.update(self._task, completed=snapshot.rows, counts=_counts(snapshot, rate))

    def steps(self, done: int, total: int, text: str) -> None:
        """Update the step."""
        check_interrupts()
        self._activity.begin("steps", timed=False)
        self._bar.update(self._task, completed=done, total=total, counts=text)

    def print_line(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[Self]:
        """Show the bar for the duration of the block."""
        with self._bar:
            yield self


@contextmanager
def terminal_progress(options: BaseModel | None = None) -> Iterator[Progress]:
    """Show progress on standard error for the duration of the block, as a bar or plain lines.

    Args:
        options: Options of the command, which may ask for a log.
    """
    console = Console(stderr=True)
    with ExitStack() as stack:
        bar: BarProgress | None = None
        if console.is_terminal:
            bar = stack.enter_context(BarProgress(console).shown())
        shown: Progress = bar or PlainProgress()
        if isinstance(options, MonitoredOptions):
            if options.log or options.log_file:
                above = bar.print_line if bar else None
                shown = stack.enter_context(logged(options, shown, above))
            else:
                stack.enter_context(warned(shown))
        yield shown
