"""The commands of `irfuse`: one line each, with options, job, and printing function.

Large packages are imported only when a command needs them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cyclopts import App, Parameter

from jobs.bench.commands import bench
from jobs.console.arguments import command_of
from jobs.options import (
    DemoOptions,
    LocationOptions,
    PairsOptions,
    ReconstructOptions,
    RunOptions,
    ScoreOptions,
    StatusOptions,
    SummarizeOptions,
    TrainOptions,
    VerifyOptions,
)


@dataclass(frozen=True)
class Command:
    """A command: an options model, a job that takes it, and a function that prints the result."""

    options: type[LocationOptions]
    job: str
    """Module and function of the job, which takes the options and a `Progress`."""
    printer: str
    """Function of `jobs.console.tables`, which takes a console, the result and the options."""
    positional: str
    """The option that is a positional argument."""
    shows_progress: bool = True


COMMANDS: dict[str, Command] = {
    "demo": Command(DemoOptions, "jobs.demo:demo", "print_demo", "folder"),
    "pairs": Command(PairsOptions, "jobs.pairs:pairs", "print_pairs", "source"),
    "run": Command(RunOptions, "jobs.run:run", "print_run", "source"),
    "score": Command(ScoreOptions, "jobs.score:score_collection", "print_run", "source"),
    "status": Command(StatusOptions, "jobs.status:status", "print_status", "out", False),
    "verify": Command(VerifyOptions, "jobs.verify:verify", "print_verification", "out"),
    "summarize": Command(
        SummarizeOptions, "jobs.summarize:summarize", "print_summaries", "outs", False
    ),
    "train": Command(TrainOptions, "jobs.train:train", "print_training", "method"),
    "reconstruct": Command(
        ReconstructOptions, "jobs.reconstruct:reconstruct", "print_reconstruction", "method"
    ),
}


def build_app() -> App:
    """Return the command line."""
    app = App(
        name="irfuse",
        help="Fuse and score whole collections of registered infrared/visible image pairs.",
        help_epilogue="Every command takes --debug, which shows tracebacks.",
        version=lambda: version("irfuse"),
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative_iterable=()),
    )
    for name, command in COMMANDS.items():
        app.command(
            command_of(command.options, _caller(command), positional=command.positional), name=name
        )
    app.command(methods)
    app.command(metrics)
    app.command(bench)
    return app


def _caller(command: Command) -> Callable[[LocationOptions], None]:
    """Return a function that runs a command's job and prints its result."""

    def call(options: LocationOptions) -> None:
        from rich.console import Console

        from jobs.console import tables
        from jobs.console.progress import terminal_progress
        from jobs.progress import Progress, SilentProgress

        module, _, function = command.job.partition(":")
        job = getattr(importlib.import_module(module), function)
        with ExitStack() as stack:
            progress: Progress = SilentProgress()
            if command.shows_progress:
                progress = stack.enter_context(terminal_progress())
            stack.enter_context(_quiet_stdout())
            result = job(options, progress)
        getattr(tables, command.printer)(Console(), result, options)

    return call


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Discard what Ray prints about dead workers to standard output; rows contain the reasons."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def methods() -> None:
    """List the fusion methods with their parameters and papers."""
    _print_registry("methods", "METHODS")


def metrics() -> None:
    """List the metrics with their direction, range, unit and paper."""
    _print_registry("metrics", "METRICS")


def _print_registry(package: str, name: str) -> None:
    from rich.console import Console

    from jobs.console import tables

    registry: Any = getattr(importlib.import_module(f"fusion_core.{package}"), name)
    getattr(tables, f"print_{package}")(Console(), registry)
