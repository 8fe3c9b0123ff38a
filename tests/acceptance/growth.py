"""Measurement of the overhead of a run as its number of pairs grows a thousandfold.

Run `python -m tests.acceptance.growth` in a checkout; see the README in this folder.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from cyclopts import App
from fsspec.spec import AbstractFileSystem
from pydantic import BaseModel, ConfigDict, computed_field
from rich.console import Console
from rich.table import Table

from cluster.collections import FusedImages, discover, freeze
from cluster.storage import Store
from fusion_core.errors import InvalidValueError
from fusion_core.images import encode_png, synthetic_pair
from jobs.bench.measuring import Report, describe_machine, peak_memory_mb, versions
from jobs.console.progress import terminal_progress
from jobs.options import ScoreOptions, StatusOptions
from jobs.progress import Progress, SilentProgress
from jobs.score import score_collection
from jobs.status import status
from tests.acceptance.console import JsonOutput, run_app, show
from tests.acceptance.processes import IRFUSE

_SIDE = 16
_NAME = "visible"
_BATCH_ROWS = 4096
_PAIRS_PER_SUBSET = 10_000


class GrowthPoint(BaseModel):
    """Measurements of one run."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    rows: int
    """Number of rows of the manifest."""
    plan_seconds: float
    """Time from reading the manifest file to the finished plan."""
    ms_per_pair: float
    """Time per pair while shards were in progress, over all workers."""
    finished_seconds: float
    """Time of the complete command when it is run again after the run has finished."""
    driver_memory_mb: float
    """Peak resident memory of the driver, including libraries and the final statistics."""


class GrowthReport(Report):
    """Result of the measurement."""

    points: list[GrowthPoint]
    """Measurements for each number of rows."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def memory_growth_mb(self) -> float:
        """Additional memory of the driver of the largest run compared with the smallest."""
        return self.points[-1].driver_memory_mb - self.points[0].driver_memory_mb


def measure_growth(
    rows: Sequence[int] = (1_000, 10_000, 100_000, 1_000_000), progress: Progress | None = None
) -> GrowthReport:
    """Run jobs with increasing numbers of pairs that take almost no time themselves.

    Images are not fused: the fused image of each pair is its visible image of 16x16 pixels, and no
    metric is computed. All other parts are those of a normal run.

    Args:
        rows: Increasing numbers of pairs.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: There is no number, one is below 1, or they do not increase.
    """
    if not rows or min(rows) < 1 or list(rows) != sorted(set(rows)):
        raise InvalidValueError(f"Expected growing numbers of rows, but got {list(rows)}")
    progress = progress or SilentProgress()
    points = []
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as folder:
        for count in rows:
            progress.message(f"{count} rows")
            points.append(_measure(Path(folder), count))
    return GrowthReport(
        machine=describe_machine("cpu"),
        versions=versions("irfuse", "ray", "pyarrow"),
        points=points,
    )


def _measure(folder: Path, rows: int) -> GrowthPoint:
    manifest, out = str(folder / f"{rows}.parquet"), str(folder / f"run-{rows}")
    _write_manifest(folder, Path(manifest), rows)
    # In a separate process, whose memory is only that of the driver.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        plan_seconds, memory_mb = process.submit(_drive, manifest, out).result()
    rate = status(StatusOptions(out=out, failures=0)).pairs_per_second
    started = time.perf_counter()
    subprocess.run(
        [*IRFUSE, "score", manifest, *_arguments(out)],
        check=True,
        capture_output=True,
    )
    return GrowthPoint(
        rows=rows,
        plan_seconds=plan_seconds,
        ms_per_pair=1e3 / rate if rate else float("nan"),
        finished_seconds=time.perf_counter() - started,
        driver_memory_mb=memory_mb,
    )


def _arguments(out: str) -> list[str]:
    return ["--out", out, "--name", _NAME, "--metrics", ""]


class _PlanClock(SilentProgress):
    """Records the time at which the plan was ready."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.seconds = float("nan")

    def planned(self, rows: int, todo: int, finished: int, shards: int) -> None:
        """Record the time."""
        self.seconds = time.perf_counter() - self._started


def _drive(manifest: str, out: str) -> tuple[float, float]:
    clock = _PlanClock()
    score_collection(ScoreOptions(source=manifest, out=out, name=_NAME, metrics=()), clock)
    return clock.seconds, peak_memory_mb("cpu")


def _write_manifest(folder: Path, path: Path, rows: int) -> None:
    """Write a manifest in which all pairs have the same two images."""
    store = Store(str(folder))
    for name, image in zip(("ir", "vis"), synthetic_pair(_SIDE, _SIDE, seed=0), strict=True):
        store.write(f"{name}.png", encode_png(image))
    fields = ("pair_id", "ir_uri", "vis_uri", "fused_uri", "subset")
    with pq.ParquetWriter(path, pa.schema([(name, pa.string()) for name in fields])) as writer:
        for first in range(0, rows, _BATCH_ROWS):
            numbers = range(first, min(first + _BATCH_ROWS, rows))
            uris = {name: [store.uri(f"{name}.png")] * len(numbers) for name in ("ir", "vis")}
            columns = {
                "pair_id": [f"scene-{n // _PAIRS_PER_SUBSET:04d}/{n:07d}" for n in numbers],
                "ir_uri": uris["ir"],
                "vis_uri": uris["vis"],
                "fused_uri": uris["vis"],
                "subset": [f"scene-{n // _PAIRS_PER_SUBSET:04d}" for n in numbers],
            }
            writer.write_batch(pa.RecordBatch.from_pydict(columns))


class DiscoveryPoint(BaseModel):
    """Measurements of the search for the pairs of one folder."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    pairs: int
    """Number of pairs in the folder."""
    seconds: float
    """Processor time of listing the folder, finding the pairs and freezing their manifest."""
    fused_seconds: float | None
    """Additional processor time of listing as many fused images and matching them to the pairs."""
    memory_mb: float
    """Peak resident memory of the process."""
    libraries_mb: float
    """That of its libraries, before the search."""


class DiscoveryReport(Report):
    """Result of the measurement."""

    points: list[DiscoveryPoint]
    """Measurements for each number of pairs."""


class NamesOnly(AbstractFileSystem):  # type: ignore[misc]
    """A file system of names without files: `names://SCENES/FRAMES/KINDS` holds so many pairs.

    Each scene has a folder for each of the kinds, such as `lwir+visible+labels`; for the kind
    `fused` it has the images alone.
    """

    protocol = "names"

    def ls(self, path: str, detail: bool = True, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield the members of a folder."""
        scenes, frames, kinds, *inner = self._strip_protocol(path).split("/")
        folders = [] if kinds == "fused" else kinds.split("+")
        if not inner:
            folders = [f"scene{number:07d}" for number in range(int(scenes))]
        if len(inner) < 2 and folders:
            yield from ({"name": f"{path}/{name}", "type": "directory"} for name in folders)
            return
        extension = "txt" if inner[-1] == "labels" else "jpg"
        for number in range(int(frames)):
            name = f"{path}/I{number:07d}.{extension}"
            yield {"name": name, "type": "file", "size": 50_000 + hash(name) % 10_000}


def measure_discovery(
    pairs: Sequence[int], frames: int | None = None, *, labels: bool = False, fused: bool = False
) -> DiscoveryReport:
    """Find the pairs of folders of growing size, which have names but no files.

    Args:
        pairs: Increasing numbers of pairs.
        frames: Number of pairs of each scene, which has folders of its own; by default all.
        labels: Whether each pair has a label.
        fused: Whether fused images are matched to the pairs.
    """
    points = []
    for count in pairs:
        each = frames or count
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            found = process.submit(_discover, count // each, each, labels, fused).result()
        points.append(found)
    return DiscoveryReport(
        machine=describe_machine("cpu"), versions=versions("irfuse", "pyarrow"), points=points
    )


def _discover(scenes: int, frames: int, labels: bool, fused: bool) -> DiscoveryPoint:
    fsspec.register_implementation("names", NamesOnly, clobber=True)
    libraries_mb, started = peak_memory_mb("cpu"), time.process_time()
    root, fused_seconds = f"names://{scenes}/{frames}", None
    read = discover(Store(f"{root}/lwir+visible{'+labels' if labels else ''}")).batches
    freeze(read())
    seconds = time.process_time() - started
    if fused:
        freeze(FusedImages(Store(f"{root}/fused")).added_to(read)())
        fused_seconds = time.process_time() - started - seconds
    return DiscoveryPoint(
        pairs=scenes * frames,
        seconds=seconds,
        fused_seconds=fused_seconds,
        memory_mb=peak_memory_mb("cpu"),
        libraries_mb=libraries_mb,
    )


def print_discovery(console: Console, report: DiscoveryReport) -> None:
    """Print what the search for pairs took."""
    table = Table(title=report.machine, title_justify="left")
    columns = ("pairs", "CPU, s", "µs per pair", "fused, s", "memory, MB", "of the libraries, MB")
    for column in columns:
        table.add_column(column, justify="right")
    for point in report.points:
        table.add_row(
            f"{point.pairs:,}",
            f"{point.seconds:.1f}",
            f"{1e6 * point.seconds / point.pairs:.1f}",
            "-" if point.fused_seconds is None else f"{point.fused_seconds:.1f}",
            f"{point.memory_mb:.0f}",
            f"{point.libraries_mb:.0f}",
        )
    console.print(table)


def print_report(console: Console, report: GrowthReport) -> None:
    """Print the overhead of the runs."""
    table = Table(title=report.machine, title_justify="left")
    for column in ("rows", "plan, s", "ms per pair", "finished, s", "driver memory, MB"):
        table.add_column(column, justify="right")
    for point in report.points:
        table.add_row(
            f"{point.rows:,}",
            f"{point.plan_seconds:.1f}",
            f"{point.ms_per_pair:.2f}",
            f"{point.finished_seconds:.1f}",
            f"{point.driver_memory_mb:.0f}",
        )
    console.print(table)
    console.print(
        f"The driver of the largest run took {report.memory_growth_mb:.0f} MB more than that of "
        "the smallest. Finished: the complete command, run again after the run has finished.",
        highlight=False,
        soft_wrap=True,
    )


app = App(name="growth", help="Measure the overhead of runs of 1,000 to 1,000,000 pairs.")


@app.default
def main(*, rows: str = "1000,10000,100000,1000000", json_output: JsonOutput = False) -> None:
    """Measure planning, resuming, time per pair and driver memory as the number of pairs grows.

    Args:
        rows: Numbers of pairs, separated by commas; a million takes some ten minutes.
        json_output: Print JSON instead of the table.
    """
    with terminal_progress() as progress:
        report = measure_growth(parse_counts(rows), progress)
    show(report, print_report, as_json=json_output)


@app.command(name="folders")
def folders(
    *,
    pairs: str = "10000,100000,1000000",
    frames: int | None = None,
    labels: bool = False,
    fused: bool = False,
    json_output: JsonOutput = False,
) -> None:
    """Measure the search for pairs as the number of files in a folder grows.

    Args:
        pairs: Numbers of pairs, separated by commas; ten million take a quarter of an hour.
        frames: Number of pairs of each scene, which has folders of its own; by default all.
        labels: Give each pair a label.
        fused: Match as many fused images to the pairs, too.
        json_output: Print JSON instead of the table.
    """
    report = measure_discovery(parse_counts(pairs), frames, labels=labels, fused=fused)
    show(report, print_discovery, as_json=json_output)


def parse_counts(text: str) -> list[int]:
    """Return the numbers of a list such as 1000,10_000.

    Raises:
        InvalidValueError: A part is not a number.
    """
    counts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(count.isdecimal() for count in counts):
        raise InvalidValueError(f"Expected numbers such as 1000,10000, but got {text}")
    return [int(count) for count in counts]


if __name__ == "__main__":
    run_app(app)
