"""The status of a run, once or redrawn, and the list of its failed pairs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fusion_core.wording import count_of, duration_of, time_since
from jobs.console.interrupts import check_interrupts
from jobs.console.layout import print_list, text_width
from jobs.console.printing import print_lines, printable
from jobs.metric_text import percent

if TYPE_CHECKING:
    from jobs.failures import Failures
    from jobs.last_failures import FailedPair
    from jobs.options import FailuresOptions, StatusOptions
    from jobs.status import Status

_LABEL = 10
_WIDEST_BAR = 50
_NARROWEST_BAR = 10
_LOOK_EVERY_S = 0.2


def print_status(console: Console, status: Status, options: StatusOptions) -> None:
    """Print the progress of a run and its last failed pairs, again and again with `--watch`.

    Raises:
        RunFailedError: The run was watched until it ended, and is not done.
        KeyboardInterrupt: The user has stopped watching.
    """
    if not options.watch:
        _print_once(console, status, options)
        return
    try:
        latest = _watch(console, status, options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped watching; the run itself is not stopped.") from None
    latest.require_done()


def _watch(console: Console, latest: Status, options: StatusOptions) -> Status:
    """Print the status again and again, and return the last one."""
    following = _followed(latest, options)
    if options.json_output or not console.is_terminal:
        for latest in following:
            _print_once(console, latest, options)
        return latest
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for latest in following:
            lines = _lines(latest, text_width(console))
            live.update(Group(*(_cut(line, console) for line in lines)), refresh=True)
    return latest


def _print_once(console: Console, status: Status, options: StatusOptions) -> None:
    if options.json_output:
        indent = None if options.watch else 2
        print(status.model_dump_json(indent=indent, ensure_ascii=True), flush=True)
    else:
        print_lines(console, *_lines(status, text_width(console)))


def _followed(first: Status, options: StatusOptions) -> Iterator[Status]:
    """Yield the status again and again, as long as the run is running."""
    from jobs.status import StatusReader

    reader, latest = StatusReader(options), first
    yield latest
    while latest.state == "running":
        end = time.monotonic() + options.every
        while (left := end - time.monotonic()) > 0:
            check_interrupts()
            time.sleep(min(left, _LOOK_EVERY_S))
        latest = reader.read()
        yield latest


def _cut(line: str, console: Console) -> Text:
    text = Text(printable(line))
    text.truncate(console.width, overflow="ellipsis")
    return text


def _lines(status: Status, width: int) -> list[str]:
    share = status.rows_done / status.rows
    done = f"{status.rows_done:,} of {count_of(status.rows, 'pair')}"
    numbers = f"  {percent(share)}  {done}"
    bar = _bar(share, min(_WIDEST_BAR, width - _LABEL - 2 - len(numbers)))
    starting = {"starting": status.workers_starting} if status.workers_starting else {}
    lines = {
        "out": status.out,
        "collection": status.collection,
        "run": status.run,
        "state": ", ".join([status.state, *_times(status)]),
        "reason": status.reason or "",
        "done": f"{bar}{numbers}".strip(),
        "shards": f"{status.shards_done:,} of {status.shards:,} done",
        "pairs": f"{status.ok:,} ok, {status.failed:,} failed, {status.rows_left:,} remaining",
        "failed at": _counts(status.failed_stages),
        "speed": _speed(status),
        "stages": ", ".join(f"{s} {percent(part)}" for s, part in status.stage_shares.items()),
        "workers": _counts({**status.workers_by_node, **starting}),
        "rows on": _counts(status.rows_by_node),
        "deaths": _counts(status.deaths),
    }
    optional = {"reason", "stages", "workers", "rows on", "deaths", "failed at"}
    damages = status.damaged_shards
    return [
        *(
            f"{name:>{_LABEL}}  {text}"
            for name, text in lines.items()
            if text or name not in optional
        ),
        *(f"    failed  {_reason(failure)}" for failure in status.failures),
        *(f"   damaged  shard {d.shard}: {d.reason}" for d in damages),
        *([f"{'':>{_LABEL}}  {_remedy(len(damages))}"] if damages else []),
    ]


def _remedy(shards: int) -> str:
    from cluster.runs import how_to_mend

    return how_to_mend(shards)


def _bar(share: float, width: int) -> str:
    if width < _NARROWEST_BAR:
        return ""
    full = int(share * width)
    return "█" * full + "░" * (width - full)


def _times(status: Status) -> Iterator[str]:
    if status.elapsed_seconds is not None:
        yield f"{duration_of(status.elapsed_seconds)} of computing"
    if status.eta_seconds is not None:
        yield f"about {duration_of(status.eta_seconds)} left"
    if status.last_commit is not None:
        yield f"last commit {time_since(status.last_commit, datetime.now(UTC))}"


def _speed(status: Status) -> str:
    if status.pairs_per_second is None:
        return "–"
    mean = f"{status.pairs_per_second:.2f} pairs/s while shards were in progress"
    if status.state != "running" or status.recent_pairs_per_second is None:
        return mean
    return f"{status.recent_pairs_per_second:.2f} pairs/s in the last five minutes, {mean}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())


def _reason(failure: FailedPair) -> str:
    return f"{failure.pair_id}: at {failure.stage}: {failure.message}"


def print_failures(console: Console, found: Failures, options: FailuresOptions) -> None:
    """Print one line for each failed pair."""
    if options.json_output:
        print(found.model_dump_json(indent=2, ensure_ascii=True))
        return
    if found.failures:
        headings = ("pair", "stage", "type", "node", "attempt", "visible image", "message")
        rows = (
            (f.pair_id, f.stage, f.type, f.node or "", str(f.attempt), f.vis_uri, f.message)
            for f in found.failures
        )
        print_list(console, headings, rows, right="attempt")
    chosen = f" at {options.stage}" if options.stage else ""
    number = f"{len(found.failures):,}"
    print_lines(console, f"{number} of {count_of(found.rows_done, 'pair')} failed{chosen}")
    for file in (options.csv_file, options.parquet_file):
        if file is not None:
            print_lines(console, f"Table: {file}")
    if found.damaged_shards:
        numbers = ", ".join(map(str, found.damaged_shards))
        remedy = _remedy(len(found.damaged_shards))
        print_lines(console, f"Damaged shards, which are left out: {numbers}; {remedy}")
