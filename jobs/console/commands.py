"""The `irfuse` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn

from cyclopts import App, Parameter
from pydantic import ValidationError

from fusion_core.errors import InvalidValueError, IrfuseError
from jobs.bench.commands import bench
from jobs.console.arguments import command_of, parse_key_values
from jobs.console.printing import printable
from jobs.options import Layout, RunOptions, ScoreOptions, TrainOptions

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

_EPILOGUE = "Every command takes --debug, which shows tracebacks."
app = App(
    name="irfuse",
    help="Fuse and score whole collections of registered infrared/visible image pairs.",
    help_epilogue=_EPILOGUE,
    version=lambda: version("irfuse"),
    suppress_keyboard_interrupt=False,
)

StorageOptions = Annotated[
    list[str] | None,
    Parameter(name="--storage-options", negative=()),
]


def main() -> None:
    """Run the command line; errors become one sentence and an exit status."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    _end_on_sigterm()
    try:
        app([argument for argument in arguments if argument != "--debug"])
    except KeyboardInterrupt:
        _stop("Stopped. What is committed stays; run the same command again to go on.")
    except Exception as error:  # noqa: BLE001
        if debug:
            _show_traceback()
        _fail(error)


def _end_on_sigterm() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _show_traceback() -> None:
    from cluster.storage.locations import redact_text

    lines = redact_text(traceback.format_exc()).splitlines()
    print("\n".join(map(printable, lines)), file=sys.stderr)


def _stop(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def _fail(error: Exception) -> NoReturn:
    from cluster.storage.locations import redact_text

    status = EXIT_FAILED
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        message = f"--{name}: {first['msg']}, but got {first['input']!r}"
        status = EXIT_USAGE
    elif isinstance(error, IrfuseError):
        message = str(error)
        status = EXIT_USAGE if isinstance(error, InvalidValueError) else EXIT_FAILED
    else:
        message = (
            f"something unforeseen happened ({type(error).__name__}: {error}); run again with "
            "--debug for the traceback"
        )
    print(f"Error: {printable(redact_text(message))}", file=sys.stderr)
    sys.exit(status)


def run(options: RunOptions) -> None:
    """Fuse and score every pair of SOURCE with a method.

    Writes one row a pair to OUT/shards and the statistics to OUT/summary.json. Run the same
    command again to go on after any interruption.
    """
    from jobs import execution

    _with_progress(lambda progress: execution.run(options, progress))


def score(options: ScoreOptions) -> None:
    """Score fused images that were made elsewhere against the pairs of SOURCE."""
    from jobs import execution

    _with_progress(lambda progress: execution.score(options, progress))


def train(options: TrainOptions) -> None:
    """Train the autoencoder of METHOD to reconstruct images.

    Leaves METHOD.safetensors for --weights with a card, and the learning curves. Run the same
    command again to go on from the last checkpoint after any interruption.
    """
    from rich.console import Console

    from jobs.console.progress import terminal_progress
    from jobs.train import train as run_training

    with terminal_progress() as progress, _quiet_stdout():
        result = run_training(options, progress)
    losses = ", ".join(f"{name} {loss:.5g}" for name, loss in result.card["losses"].items())
    Console().print(
        f"{result.steps} steps, {result.computed} computed now; losses of the last: {losses}\n"
        f"Weights: {result.weights}\nCurves:  {result.out}/curves.png and curves.parquet",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _with_progress(job: Callable[[Any], Any]) -> None:
    from jobs.console.progress import terminal_progress

    with terminal_progress() as progress, _quiet_stdout():
        result = job(progress)
    _print_result(result)


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Keep what Ray prints of dead workers off standard output; the rows say it better."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def _print_result(result: Any) -> None:  # noqa: ANN401
    from rich.console import Console

    from jobs.console.tables import print_summary

    console = Console()
    print_summary(console, [result.summary])
    console.print(
        f"{result.rows - result.failed} pairs ok, {result.failed} failed, "
        f"{result.computed} computed now.\n"
        f"Shards:  {result.out}/shards\nSummary: {result.out}/summary.json and summary.csv",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


app.command(command_of(RunOptions, run))
app.command(command_of(ScoreOptions, score))
app.command(command_of(TrainOptions, train, first="method"))


@app.command
def reconstruct(
    method: Literal["densefuse", "res2netfuse"],
    *,
    images: str,
    output: Annotated[str, Parameter(name=("--output", "-o"))],
    weights: str | None = None,
    params: Annotated[list[str] | None, Parameter(name="--param", negative=())] = None,
    json_output: Annotated[bool, Parameter(name="--json", negative=())] = False,
    storage_options: StorageOptions = None,
) -> None:
    """Measure how well the autoencoder of METHOD reconstructs images: SSIM, PSNR and MSE.

    Writes one row an image, and prints their means.

    Args:
        method: Whose autoencoder.
        images: Folder of images of any kind; gray is what is reconstructed.
        output: Table to write, ending in .parquet.
        weights: Weight file (path or URL), or random:SEED; those that come with irfuse by default.
        params: A parameter of the method as NAME=VALUE, repeated for each.
        json_output: Print JSON.
        storage_options: Options for fsspec as NAME=VALUE, repeated, or one JSON object.
    """
    from rich.console import Console

    from jobs.console.progress import terminal_progress
    from jobs.console.tables import print_reconstruction
    from jobs.reconstruct import reconstruct as run_reconstruction

    with terminal_progress() as progress:
        report = run_reconstruction(
            method,
            images=images,
            output=output,
            weights=weights,
            params=parse_key_values(params),
            storage_options=parse_key_values(storage_options),
            progress=progress,
        )
    if json_output:
        print(report.model_dump_json(indent=2, ensure_ascii=True))
    else:
        print_reconstruction(Console(), report)


@app.command
def demo(folder: str = "irfuse-demo") -> None:
    """Run the main job on a small made-up collection.

    Args:
        folder: Where the collection and the run are put.
    """
    from rich.console import Console

    from jobs.console.progress import terminal_progress
    from jobs.demo import demo as run_demo

    with terminal_progress() as progress, _quiet_stdout():
        result = run_demo(folder, progress)
    _print_result(result.run)
    Console(highlight=False).print(f"Pairs:   {result.source}", markup=False, soft_wrap=True)


@app.command
def pairs(
    source: str,
    *,
    output: Annotated[str, Parameter(name=("--output", "-o"))],
    layout: Layout = "auto",
    storage_options: StorageOptions = None,
) -> None:
    """Find the pairs of a folder and write them as a manifest.

    Args:
        source: Folder: local path, s3://, gs://.
        output: Manifest to write, ending in .parquet.
        layout: How pairs lie in the folder; found out by default.
        storage_options: Options for fsspec as NAME=VALUE, repeated, or one JSON object.
    """
    from rich.console import Console

    from jobs.console.tables import print_discovery
    from jobs.pairs import pairs as find_pairs

    found, info = find_pairs(
        source, output, layout=layout, storage_options=parse_key_values(storage_options)
    )
    console = Console()
    print_discovery(console, found)
    console.print(
        f"{info.rows} pairs written to {printable(output)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command
def status(
    out: str,
    *,
    failures: int = 10,
    json_output: Annotated[bool, Parameter(name="--json", negative=())] = False,
    storage_options: StorageOptions = None,
) -> None:
    """Tell how far the run at OUT is, and why pairs failed.

    Args:
        out: The run's location.
        failures: How many failed pairs to show with their reasons.
        json_output: Print JSON.
        storage_options: Options for fsspec as NAME=VALUE, repeated, or one JSON object.
    """
    from rich.console import Console

    from jobs.console.tables import print_status
    from jobs.status import status as read_status

    found = read_status(out, failures=failures, storage_options=parse_key_values(storage_options))
    if json_output:
        print(found.model_dump_json(indent=2, ensure_ascii=True))
    else:
        print_status(Console(), found)


@app.command
def summarize(
    *outs: str,
    json_output: Annotated[bool, Parameter(name="--json", negative=())] = False,
    csv_output: Annotated[bool, Parameter(name="--csv", negative=())] = False,
    storage_options: StorageOptions = None,
) -> None:
    """Compute the statistics of the runs at OUTS again, from their shards.

    Writes summary.json and summary.csv beside the shards and prints a table.

    Args:
        outs: One run or several to compare.
        json_output: Print JSON instead of the table.
        csv_output: Print CSV instead of the table.
        storage_options: Options for fsspec as NAME=VALUE, repeated, or one JSON object.
    """
    from rich.console import Console

    from jobs.console.tables import print_summary
    from jobs.summarize import summarize as run_summarize
    from jobs.summarize import summary_csv

    if not outs:
        raise InvalidValueError("Expected at least one run's location")
    options = parse_key_values(storage_options)
    found = [run_summarize(out, storage_options=options) for out in outs]
    if json_output:
        print(json.dumps([part.model_dump() for part in found], indent=2))
    elif csv_output:
        print(summary_csv(found), end="")
    else:
        print_summary(Console(), found)


@app.command
def methods() -> None:
    """List the fusion methods with their parameters and papers."""
    from rich.console import Console

    from fusion_core.methods import METHODS
    from jobs.console.tables import print_methods

    print_methods(Console(), METHODS)


@app.command
def metrics() -> None:
    """List the metrics with their direction, range, unit and paper."""
    from rich.console import Console

    from fusion_core.metrics import METRICS
    from jobs.console.tables import print_metrics

    print_metrics(Console(), METRICS)


app.command(bench)


if __name__ == "__main__":
    main()
