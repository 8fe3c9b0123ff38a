"""The log of a command: events as lines of text or JSON, beside the progress that is shown."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_core.errors import StorageError
from jobs.console.interrupts import check_interrupts
from jobs.console.printing import printable
from jobs.progress import Progress

if TYPE_CHECKING:
    from cluster.runs import Snapshot
    from jobs.options import MonitoredOptions

_SEPARATORS = frozenset(' ="')


@dataclass(slots=True)
class _State:
    """How errors of the command are to be shown."""

    json_on_stderr: bool = False


STATE = _State()


def json_line(record: logging.LogRecord) -> str:
    """Return a record as one line of JSON."""
    return json.dumps(dict(_fields(record)))


def text_line(record: logging.LogRecord) -> str:
    """Return a record as text: time, level, event, and NAME=VALUE for each field.

    A traceback follows in lines of its own.
    """
    fields = dict(_fields(record))
    words = [str(fields.pop("ts")), str(fields.pop("level")).upper().ljust(7)]
    words.append(str(fields.pop("event")))
    traceback = str(fields.pop("traceback", "")).splitlines()
    words += [f"{name}={_quoted(str(value))}" for name, value in fields.items()]
    return "\n".join([" ".join(words), *(f"    {line}" for line in traceback)])


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    time = datetime.fromtimestamp(record.created, UTC)
    yield "ts", time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    yield "level", record.levelname.lower()
    yield from _event_of(record).values()


def _event_of(record: logging.LogRecord) -> Any:  # noqa: ANN401
    """Return the event of a record, or of one without an event a note."""
    from cluster.runs import Event
    from cluster.storage import redact_text

    found = getattr(record, "event", None)
    return found or Event("run.note", error=redact_text(record.getMessage()))


def _quoted(text: str) -> str:
    """Return a value of a text line: in quotation marks if it would not end with the word."""
    plain = text.isprintable() and not _SEPARATORS & set(text)
    return text if plain and text else json.dumps(text)


class _LineHandler(logging.Handler):
    """Writes records line by line."""

    def __init__(
        self, to_line: Callable[[logging.LogRecord], str], write: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._to_line, self._write = to_line, write

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            for line in self._to_line(record).splitlines():
                self._write(line)
        except Exception:  # noqa: BLE001 - as all handlers of `logging`
            self.handleError(record)


class LoggedProgress:
    """Puts notes into the log, and passes everything on to another progress, if there is one.

    Args:
        shown: The progress that is shown; None if the log is all that is.
        notes: Whether notes are shown there, too.
    """

    def __init__(self, shown: Progress | None, *, notes: bool) -> None:
        self._shown, self._notes = shown, notes

    def message(self, text: str) -> None:
        """Pass the message on."""
        check_interrupts()
        if self._shown:
            self._shown.message(text)

    def note(self, text: str) -> None:
        """Log the note."""
        from cluster.runs import Event

        Event("run.note", error=text).emit()
        if self._shown and self._notes:
            self._shown.note(text)

    def planned(self, rows: int, todo: int, finished: int, shards: int) -> None:
        """Pass the plan on."""
        if self._shown:
            self._shown.planned(rows, todo, finished, shards)

    def update(self, snapshot: Snapshot) -> None:
        """Pass the counts on."""
        check_interrupts()
        if self._shown:
            self._shown.update(snapshot)

    def steps(self, done: int, total: int, text: str) -> None:
        """Pass the step on."""
        check_interrupts()
        if self._shown:
            self._shown.steps(done, total, text)


@contextmanager
def logged(
    options: MonitoredOptions, progress: Progress, print_line: Callable[[str], None] | None
) -> Iterator[Progress]:
    """Write the log that options ask for while the block runs, and yield the progress to use.

    Args:
        options: Options with those of the log.
        progress: The progress that is shown without a log.
        print_line: Prints a line above a progress bar; None if there is no bar.

    Raises:
        StorageError: The file of the log cannot be opened.
    """
    from cluster.runs import LOGGER

    to_line = json_line if options.log == "json" else text_line
    with _opened(options.log_file) as file:
        if file is not None:
            write, used = file, LoggedProgress(progress, notes=True)
        elif print_line is not None:
            write, used = print_line, LoggedProgress(progress, notes=False)
        else:
            write, used = _print_to_stderr, LoggedProgress(None, notes=False)
        with _handled(LOGGER, _LineHandler(to_line, write), options.log_level.upper()):
            STATE.json_on_stderr = options.log == "json" and write is _print_to_stderr
            yield used


@contextmanager
def warned(progress: Progress) -> Iterator[None]:
    """Show warnings that are no events as notes while the block runs, without a log."""
    from cluster.runs import LOGGER

    def to_text(record: logging.LogRecord) -> str:
        return "" if hasattr(record, "event") else str(_event_of(record).error)

    with _handled(LOGGER, _LineHandler(to_text, progress.note), "WARNING"):
        yield


def print_error(error_type: str, message: str) -> None:
    """Print the error that ends a command as the last line of a log in JSON."""
    from cluster.runs import LOGGER, Event
    from cluster.storage import redact_text

    event = Event("command.failed", error_type=error_type, error=redact_text(message))
    record = LOGGER.makeRecord(
        LOGGER.name, logging.ERROR, "", 0, event.event, (), None, extra={"event": event}
    )
    _print_to_stderr(json_line(record))


@contextmanager
def _handled(logger: logging.Logger, handler: logging.Handler, level: str) -> Iterator[None]:
    before = logger.level, logger.propagate
    retries = logging.getLogger("stamina")  # has an event of its own
    silence = logging.NullHandler()
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(handler)
    retries.addHandler(silence)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        retries.removeHandler(silence)
        logger.level, logger.propagate = before


@contextmanager
def _opened(name: str | None) -> Iterator[Callable[[str], None] | None]:
    """Open a file to append lines to, and yield the function that does so."""
    if name is None:
        yield None
        return
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        file = Path(name).open("a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise StorageError(
            f"The log {name} cannot be opened ({error.strerror}); choose another --log-file"
        ) from None
    with file:

        def write(line: str) -> None:
            file.write(f"{printable(line)}\n")
            file.flush()

        yield write


def _print_to_stderr(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
