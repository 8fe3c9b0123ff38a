"""Measurement of the speed at which training code reads the fused images of a run.

Run `python -m tests.acceptance.reading` in a checkout; see the README in this folder.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from cyclopts import App
from PIL import Image
from pydantic import BaseModel, ConfigDict, computed_field
from rich.console import Console
from rich.table import Table

from cluster.runs import SHARDS_PREFIX
from jobs.bench.measuring import (
    Report,
    check_setting,
    describe_machine,
    one_thread,
    versions,
)
from jobs.console.progress import terminal_progress
from jobs.dataset import FusedPairs, FusedStream
from jobs.export.folder import export_folder
from jobs.options import ExportFolderOptions
from jobs.progress import Progress, SilentProgress
from tests.acceptance.console import JsonOutput, run_app, show
from tests.acceptance.made_runs import write_run

_PILLOW = "Pillow from PNG files"
_HUGGING_FACE = "Hugging Face datasets from the shards"
_INDEX_SIDE = 16


class Reader(BaseModel):
    """The processor time that one reader takes for all images."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    """What reads."""
    seconds: list[float]
    """Processor time of each round."""


class ReadingReport(Report):
    """Result of the measurement."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    pairs: int
    """Number of images that are read in each round."""
    readers: list[Reader]
    """The readers, of which the first one is the bare loop of Pillow."""
    index_shards: int
    """Number of shards of the run whose index is read."""
    index_seconds: float
    """Time that reading the index took."""
    index_memory_mb: float
    """Memory that the index takes."""

    def ratio(self, name: str, other: str) -> float:
        """Return how many times as fast as another one a reader is: the median over rounds."""
        of = {reader.name: reader.seconds for reader in self.readers}
        return statistics.median(b / a for a, b in zip(of[name], of[other], strict=True))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def times_as_fast_as_pillow(self) -> dict[str, float]:
        """How many times as fast as the bare loop of Pillow each reader is."""
        return {reader.name: self.ratio(reader.name, _PILLOW) for reader in self.readers}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def times_as_fast_as_datasets(self) -> dict[str, float]:
        """How many times as fast as Hugging Face `datasets` each reader is."""
        return {reader.name: self.ratio(reader.name, _HUGGING_FACE) for reader in self.readers}


def measure_reading(
    *,
    width: int = 640,
    height: int = 512,
    pairs: int = 160,
    repeats: int = 5,
    index_shards: int = 10_000,
    progress: Progress | None = None,
) -> ReadingReport:
    """Read the images of a run to tensors in several ways, by turns, and the index of a large run.

    Args:
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        pairs: Number of images.
        repeats: Number of rounds.
        index_shards: Number of shards of the large run.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A number is below 1.
    """
    check_setting(min(width, height, pairs, repeats, index_shards), "cpu")
    progress = progress or SilentProgress()
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as name, one_thread():
        folder = Path(name)
        progress.message("Writing the images")
        write_run(folder / "run", pairs, height, width)
        export_folder(ExportFolderOptions(run=str(folder / "run"), out=str(folder / "files")))
        files = sorted((folder / "files").rglob("*.png"))
        seconds: dict[str, list[float]] = {}
        for number in range(repeats):
            progress.message(f"Round {number + 1} of {repeats}")
            for reader, action in _readers(folder / "run", files, number).items():
                gc.collect()
                started = time.process_time()
                action()
                seconds.setdefault(reader, []).append(time.process_time() - started)
        progress.message("Writing the shards of a large run")
        write_run(folder / "large", index_shards, _INDEX_SIDE, _INDEX_SIDE, 1)
        gc.collect()
        process = psutil.Process()
        before, started = process.memory_info().rss, time.perf_counter()
        index = FusedPairs(folder / "large")
        spent = time.perf_counter() - started
        memory = process.memory_info().rss - before
        assert len(index) == index_shards
        return ReadingReport(
            machine=describe_machine("cpu"),
            versions=versions("irfuse", "pillow", "datasets", "pyarrow"),
            width=width,
            height=height,
            pairs=pairs,
            readers=[Reader(name=name, seconds=spent) for name, spent in seconds.items()],
            index_shards=index_shards,
            index_seconds=spent,
            index_memory_mb=memory / 1e6,
        )


def _readers(run: Path, files: list[Path], number: int) -> dict[str, Callable[[], None]]:
    """Return the readers of one round; each reads all images, in an order of the round."""
    import datasets

    generator = np.random.default_rng(number)
    orders = [generator.permutation(len(files)).tolist() for _ in range(2)]
    pairs = FusedPairs(run)
    stream = FusedStream(run, shuffle=True, seed=number)
    shards = sorted(str(path) for path in (run / SHARDS_PREFIX).iterdir())
    cache = str(run.parent / "cache")
    rows = datasets.load_dataset("parquet", data_files=shards, split="train", cache_dir=cache)
    rows = rows.cast_column("fused", datasets.Image()).with_format("torch")

    def bare() -> None:
        for place in orders[0]:
            with Image.open(files[place]) as image:
                torch.from_numpy(np.array(image))[None]

    def by_number(order: list[int]) -> Callable[[], None]:
        def read() -> None:
            for place in order:
                pairs[place]["fused"]

        return read

    def streamed() -> None:
        for sample in stream:
            sample["fused"]

    def hugging_face() -> None:
        for place in orders[0]:
            rows[place]["fused"]

    return {
        _PILLOW: bare,
        _HUGGING_FACE: hugging_face,
        "FusedPairs, first epoch": by_number(orders[0]),
        "FusedPairs, second epoch": by_number(orders[1]),
        "FusedStream": streamed,
    }


def print_report(console: Console, report: ReadingReport) -> None:
    """Print the times of the readers and of the index."""
    title = f"{report.machine}; {report.pairs} images of {report.width}x{report.height}"
    table = Table(title=title, title_justify="left")
    table.add_column("reader")
    for column in ("CPU, s", "times Pillow", "times datasets"):
        table.add_column(column, justify="right")
    pillow, datasets = report.times_as_fast_as_pillow, report.times_as_fast_as_datasets
    for reader in report.readers:
        table.add_row(
            reader.name,
            f"{statistics.median(reader.seconds):.2f}",
            f"{pillow[reader.name]:.2f}",
            f"{datasets[reader.name]:.2f}",
        )
    console.print(table)
    console.print(
        f"Index of {report.index_shards} shards: {report.index_seconds:.1f} s, "
        f"{report.index_memory_mb:.0f} MB.",
        highlight=False,
        soft_wrap=True,
    )


app = App(name="reading", help="Measure how fast training code reads the fused images of a run.")


@app.default
def main(
    *,
    width: int = 640,
    height: int = 512,
    pairs: int = 160,
    repeats: int = 5,
    index_shards: int = 10_000,
    json_output: JsonOutput = False,
) -> None:
    """Read the images of a run in several ways, by turns, and the index of a large run.

    Args:
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        pairs: Number of images.
        repeats: Number of rounds.
        index_shards: Number of shards of the large run.
        json_output: Print JSON instead of the table.
    """
    with terminal_progress() as progress:
        report = measure_reading(
            width=width,
            height=height,
            pairs=pairs,
            repeats=repeats,
            index_shards=index_shards,
            progress=progress,
        )
    show(report, print_report, as_json=json_output)


if __name__ == "__main__":
    run_app(app)
