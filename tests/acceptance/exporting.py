"""Measurement of the speed of exports, compared with copying the same images as files.

Run `python -m tests.acceptance.exporting` in a checkout; see the README in this folder.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from cyclopts import App
from pydantic import BaseModel, ConfigDict, computed_field
from rich.console import Console
from rich.table import Table

from jobs.bench.measuring import (
    Report,
    check_setting,
    describe_machine,
    peak_memory_mb,
    versions,
)
from jobs.console.progress import terminal_progress
from jobs.export.folder import export_folder
from jobs.export.hf import export_hf
from jobs.export.webdataset import export_webdataset
from jobs.options import ExportFolderOptions, ExportHfOptions, ExportWebDatasetOptions
from jobs.progress import Progress, SilentProgress
from tests.acceptance.console import JsonOutput, run_app, show
from tests.acceptance.made_runs import write_run

Form = Literal["folder", "webdataset", "hf"]
FORMS: tuple[Form, ...] = ("folder", "webdataset", "hf")
_THREADS = 8


class FormReport(BaseModel):
    """Measurements of the exports of one form."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    form: Form
    """What the files are."""
    export_seconds: list[float]
    """Time of each export."""
    copy_seconds: list[float]
    """Time in which as many threads copy the images as single files, and make them as durable."""
    memory_mb: float
    """Peak resident memory of a process that exports."""
    memory_of_a_tenth_mb: float
    """Peak resident memory of a process that exports a tenth of the pairs."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        """Rate of the export as a share of the rate of copying: the median over rounds."""
        times = zip(self.copy_seconds, self.export_seconds, strict=True)
        return statistics.median(copy / export for copy, export in times)


class ExportReport(Report):
    """Result of the measurement."""

    pairs: int
    """Number of pairs."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    forms: list[FormReport]
    """Measurements of each form."""


def measure_exports(
    *,
    pairs: int = 15_488,
    width: int = 160,
    height: int = 128,
    repeats: int = 3,
    progress: Progress | None = None,
) -> ExportReport:
    """Export a run to each form, and copy its images as files, by turns.

    Args:
        pairs: Number of pairs; LLVIP has 15,488.
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        repeats: Number of rounds.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A number is below 1.
    """
    check_setting(min(pairs, width, height, repeats), "cpu")
    progress = progress or SilentProgress()
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as name:
        folder = Path(name)
        progress.message("Writing the run")
        write_run(folder / "run", pairs, height, width)
        write_run(folder / "tenth", max(1, pairs // 10), height, width)
        _in_process(_export, "folder", folder / "run", folder / "files")
        forms = [_measure(folder, form, repeats, progress) for form in FORMS]
    return ExportReport(
        machine=describe_machine("cpu"),
        versions=versions("irfuse", "pyarrow"),
        pairs=pairs,
        width=width,
        height=height,
        forms=forms,
    )


def _measure(folder: Path, form: Form, repeats: int, progress: Progress) -> FormReport:
    exports, copies, memory = list[float](), list[float](), 0.0
    for number in range(repeats):
        progress.message(f"{form}, round {number + 1} of {repeats}")
        shutil.rmtree(folder / "out", ignore_errors=True)
        shutil.rmtree(folder / "copy", ignore_errors=True)
        os.sync()
        spent, memory = _in_process(_export, form, folder / "run", folder / "out")
        exports.append(spent)
        copies.append(_in_process(_copy, folder / "files", folder / "copy")[0])
    shutil.rmtree(folder / "out")
    _, memory_of_a_tenth = _in_process(_export, form, folder / "tenth", folder / "out")
    shutil.rmtree(folder / "out")
    return FormReport(
        form=form,
        export_seconds=exports,
        copy_seconds=copies,
        memory_mb=memory,
        memory_of_a_tenth_mb=memory_of_a_tenth,
    )


def _in_process(action: Callable[..., float], *arguments: object) -> tuple[float, float]:
    """Return what an action returns, and the peak memory of the process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(action, *arguments).result(), process.submit(_peak).result()


def _peak() -> float:
    return peak_memory_mb("cpu")


def _export(form: Form, run: Path, out: Path) -> float:
    where = {"run": str(run), "out": str(out)}
    started = time.perf_counter()
    if form == "folder":
        export_folder(ExportFolderOptions(**where))
    elif form == "webdataset":
        export_webdataset(ExportWebDatasetOptions(**where, shard_bytes=32_000_000))
    else:
        export_hf(ExportHfOptions(**where))
    return time.perf_counter() - started


def _copy(source: Path, target: Path) -> float:
    """Copy the files of a folder to the disk with several threads, and return the time."""
    started = time.perf_counter()
    files = [path for path in source.rglob("*") if path.is_file()]
    for folder in {path.parent for path in files}:
        (target / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)

    def copy(path: Path) -> None:
        copied = target / path.relative_to(source)
        shutil.copyfile(path, copied)
        with copied.open("rb") as file:
            os.fsync(file.fileno())

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(copy, files))
    return time.perf_counter() - started


def print_report(console: Console, report: ExportReport) -> None:
    """Print the times and the memory of each form."""
    title = f"{report.machine}; {report.pairs} images of {report.width}x{report.height}"
    table = Table(title=title, title_justify="left")
    table.add_column("form")
    for column in ("export, s", "copy, s", "ratio", "memory, MB", "of a tenth, MB"):
        table.add_column(column, justify="right")
    for form in report.forms:
        table.add_row(
            form.form,
            f"{statistics.median(form.export_seconds):.1f}",
            f"{statistics.median(form.copy_seconds):.1f}",
            f"{form.ratio:.2f}",
            f"{form.memory_mb:.0f}",
            f"{form.memory_of_a_tenth_mb:.0f}",
        )
    console.print(table)


app = App(name="exporting", help="Measure exports against copies of the same images.")


@app.default
def main(
    *,
    pairs: int = 15_488,
    width: int = 160,
    height: int = 128,
    repeats: int = 3,
    json_output: JsonOutput = False,
) -> None:
    """Export a run to each form, and copy its images as files, by turns.

    Args:
        pairs: Number of pairs.
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        repeats: Number of rounds.
        json_output: Print JSON instead of the table.
    """
    with terminal_progress() as progress:
        report = measure_exports(
            pairs=pairs, width=width, height=height, repeats=repeats, progress=progress
        )
    show(report, print_report, as_json=json_output)


if __name__ == "__main__":
    run_app(app)
