"""What a dry run has found: labelled lines, the problems, and the estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from rich.console import Console

from fusion_core.wording import bytes_of, count_of, duration_of
from jobs.console.layout import print_labelled
from jobs.console.printing import print_lines

if TYPE_CHECKING:
    from jobs.dry_run import DryRun, Headers
    from jobs.estimates import Estimate
    from jobs.options import DryRunOptions, JobOptions

_MOST_SIZES = 3
_THOUSANDS = 10_000


def print_dry_run(console: Console, result: DryRun, options: JobOptions) -> None:
    """Print what a run would do, its problems, and what it would take.

    Raises:
        RunFailedError: There are problems.
    """
    if options.json_output:
        print(result.model_dump_json(ensure_ascii=True))
    else:
        for label, text in _lines(result, options):
            print_labelled(console, label, text)
        print_lines(console, "Nothing was written.")
    result.require_ready()


def _lines(result: DryRun, options: JobOptions) -> Iterator[tuple[str, str]]:
    if result.rows is not None:
        shards = f" in {count_of(result.shards, 'shard')}" if result.shards else ""
        first = f"; first: {result.first}" if result.first else ""
        yield "Pairs", f"{result.rows:,}{shards}{first}"
    if result.headers is not None:
        yield "Images", _images(result.headers, result.estimate)
    if result.run is not None:
        yield "Method", _method(result)
    yield "OUT", _out(result)
    if result.workers is not None:
        software = f"Ray {result.ray}, irfuse {version('irfuse')} here and there"
        yield "Cluster", f"{count_of(result.workers, 'worker')} with {result.worker} ({software})"
    if result.sampled:
        times = ", ".join(f"{stage} {_ms(ms)}" for stage, ms in result.stages_ms.items())
        sampled = f"{count_of(result.sampled, 'pair')} by {count_of(result.sampled_by, 'worker')}"
        yield "Measured", f"{sampled}: {times} ms per pair"
    if result.estimate is not None:
        yield from estimate_lines(result.estimate, options)
    elif result.rows_left == 0:
        yield "Estimate", "all pairs are computed already"
    for note in result.notes:
        yield "Note", note
    for problem in result.problems:
        yield "Problem", problem


def _images(headers: Headers, estimate: Estimate | None) -> str:
    sizes = [f"{size} in {count}" for size, count in headers.sizes.items()]
    more = f", {len(sizes) - _MOST_SIZES} other sizes" if len(sizes) > _MOST_SIZES else ""
    kinds = f"infrared {_first(headers.infrared)}, visible {_first(headers.visible)}"
    read = f"; {bytes_of(estimate.bytes_read)} to read" if estimate is not None else ""
    known = f"{', '.join(sizes[:_MOST_SIZES])}{more} of {headers.pairs} sampled pairs; {kinds}"
    return f"{known if sizes else f'none of {headers.pairs} sampled pairs can be fused'}{read}"


def _first(kinds: Mapping[str, int]) -> str:
    return " or ".join(list(kinds)[:2]) or "unreadable"


def _method(result: DryRun) -> str:
    parts = [result.run or ""]
    if result.weights is not None:
        parts.append(f"weights {result.weights}")
    if result.metrics is not None:
        parts.append(count_of(result.metrics, "metric"))
    return ", ".join(parts)


def _out(result: DryRun) -> str:
    state = "new"
    if result.resumes:
        done = (result.rows or 0) - (result.rows_left or 0)
        state = f"continues a run with {done:,} of {result.rows:,} pairs"
    return f"{result.out}: {writable_text(result.writable)}, {state}"


def writable_text(writable: bool | None) -> str:
    """Return in words whether a location can be written."""
    rights = {True: "writable", False: "not writable", None: "not tried to write (--probe-write)"}
    return rights[writable]


def estimate_lines(found: Estimate, options: DryRunOptions) -> Iterator[tuple[str, str]]:
    """Yield the lines of an estimate, with their labels."""
    low, high = duration_of(found.seconds_low), duration_of(found.seconds_high)
    yield (
        "Estimate",
        f"{duration_of(found.seconds)} ({low} – {high}) on {count_of(found.workers, 'worker')}; "
        f"{found.core_hours:.2g} core-hours; {bytes_of(found.bytes_written)} out; "
        f"{bytes_of(found.memory_per_worker)} per worker",
    )
    requests = f"{_rounded(found.reads)} GET, {_rounded(found.writes)} PUT in object stores"
    price = ""
    if found.price is not None:
        price = f"; about {found.price:.2f} at {options.price_per_hour:g}/h per worker"
    yield "", requests + price


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _rounded(count: int) -> str:
    return f"{count:,}" if count < _THOUSANDS else f"{count / 1000:,.0f} k"
