"""The commands of `irfuse`: one line each, with options, job, and printing function.

Large packages are imported only when a command needs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cyclopts import App, Parameter
from pydantic import BaseModel

from fusion_core.deferred import Deferred
from jobs.bench.commands import bench
from jobs.console.arguments import command_of
from jobs.options import (
    CheckMethodOptions,
    CheckMetricOptions,
    DemoOptions,
    DeployKubeRayOptions,
    DeployObservabilityOptions,
    DeployRayOptions,
    DeploySlurmOptions,
    ExportCheckOptions,
    ExportFolderOptions,
    ExportHfOptions,
    ExportWebDatasetOptions,
    FailuresOptions,
    FuseOptions,
    MethodsOptions,
    MetricsOptions,
    PairsOptions,
    ReconstructOptions,
    RunOptions,
    RunsDiffOptions,
    RunsOptions,
    ScoreOptions,
    ShowOptions,
    StatusOptions,
    SummarizeOptions,
    TrainOptions,
    VerifyOptions,
    WeightsOptions,
)
from jobs.study.options import (
    StudyAddOptions,
    StudyReportOptions,
    StudyRunOptions,
    StudyStatusOptions,
)


@dataclass(frozen=True)
class Command:
    """A command: an options model, a job that takes it, and a function that prints the result."""

    options: type[BaseModel]
    job: str
    """Module and function of the job, which takes the options and a `Progress`."""
    printer: str
    """Module of `jobs.console` and function, which takes a console, the result and the options."""
    positional: str
    """The options that are positional arguments, separated by spaces."""
    shows_progress: bool = True
    dry_run: tuple[str, str] | None = None
    """Job and printer that take their places with the option `--dry-run`."""

    def parts(self, options: BaseModel) -> tuple[str, str]:
        """Return job and printer for some options."""
        if self.dry_run is not None and getattr(options, "dry_run", False):
            return self.dry_run
        return self.job, self.printer


_DRY_RUN = ("jobs.dry_run:dry_run", "dry_run:print_dry_run")
_DRY_EXPORT = ("jobs.export.dry_run:dry_run_export", "exports:print_dry_run")

GROUPS = {
    "deploy": "Make files that start a cluster with a run on it, and files that watch runs.",
    "runs": None,
    "export": "Write the fused images of a run as files, for programs that read no Parquet.",
    "study": "Compare methods on collections, from the runs to tables, figures and a report.",
}
"""Commands that consist of others, and their help; None for a command that also does something by
itself and describes that."""

COMMANDS: dict[str, Command] = {
    "fuse": Command(FuseOptions, "jobs.fuse:fuse_pair", "pictures:print_fused", "ir vis"),
    "demo": Command(DemoOptions, "jobs.demo:demo", "tables:print_demo", "folder"),
    "pairs": Command(PairsOptions, "jobs.pairs:pairs", "pairs:print_pairs", "source"),
    "run": Command(RunOptions, "jobs.run:run", "tables:print_run", "source", dry_run=_DRY_RUN),
    "score": Command(
        ScoreOptions, "jobs.score:score_collection", "tables:print_run", "source", dry_run=_DRY_RUN
    ),
    "status": Command(StatusOptions, "jobs.status:status", "status:print_status", "out", False),
    "failures": Command(
        FailuresOptions, "jobs.failures:list_failures", "status:print_failures", "out", False
    ),
    "runs": Command(RunsOptions, "jobs.run_index:list_runs", "run_index:print_index", "prefix"),
    "runs diff": Command(
        RunsDiffOptions,
        "jobs.run_index:diff_runs",
        "run_index:print_differences",
        "first second",
        False,
    ),
    "verify": Command(VerifyOptions, "jobs.verify:verify", "tables:print_verification", "out"),
    "summarize": Command(
        SummarizeOptions, "jobs.summarize:summarize", "summaries:print_summaries", "outs", False
    ),
    "show": Command(ShowOptions, "jobs.show:show", "pictures:print_sheet", "out pairs", False),
    "export folder": Command(
        ExportFolderOptions,
        "jobs.export.folder:export_folder",
        "exports:print_folder",
        "run out",
        dry_run=_DRY_EXPORT,
    ),
    "export webdataset": Command(
        ExportWebDatasetOptions,
        "jobs.export.webdataset:export_webdataset",
        "exports:print_webdataset",
        "run out",
        dry_run=_DRY_EXPORT,
    ),
    "export hf": Command(
        ExportHfOptions,
        "jobs.export.hf:export_hf",
        "exports:print_hf",
        "run out",
        dry_run=_DRY_EXPORT,
    ),
    "export check": Command(
        ExportCheckOptions, "jobs.export.check:check_export", "exports:print_check", "out"
    ),
    "deploy kuberay": Command(
        DeployKubeRayOptions,
        "jobs.deploy:deploy_kuberay",
        "deploy:print_cluster_file",
        "source",
        False,
    ),
    "deploy ray": Command(
        DeployRayOptions, "jobs.deploy:deploy_ray", "deploy:print_cluster_file", "source", False
    ),
    "deploy slurm": Command(
        DeploySlurmOptions, "jobs.deploy:deploy_slurm", "deploy:print_cluster_file", "source", False
    ),
    "deploy observability": Command(
        DeployObservabilityOptions,
        "jobs.observability:deploy_observability",
        "deploy:print_observability_files",
        "folder",
        False,
    ),
    "study run": Command(
        StudyRunOptions,
        "jobs.study.run:run_study",
        "studies:print_study",
        "sources",
        dry_run=("jobs.study.dry_run:dry_run_study", "studies:print_study_dry_run"),
    ),
    "study add": Command(
        StudyAddOptions, "jobs.study.add:add_runs", "studies:print_added", "out runs", False
    ),
    "study report": Command(
        StudyReportOptions, "jobs.study.report:report_study", "studies:print_report", "out"
    ),
    "study status": Command(
        StudyStatusOptions, "jobs.study.status:study_status", "studies:print_grid", "out", False
    ),
    "train": Command(TrainOptions, "jobs.train:train", "tables:print_training", "method"),
    "reconstruct": Command(
        ReconstructOptions, "jobs.reconstruct:reconstruct", "tables:print_reconstruction", "method"
    ),
    "methods": Command(
        MethodsOptions, "jobs.catalogue:methods", "catalogue:print_methods", "name", False
    ),
    "metrics": Command(
        MetricsOptions, "jobs.catalogue:metrics", "metric_catalogue:print_metrics", "names", False
    ),
    "check-method": Command(
        CheckMethodOptions, "jobs.checking.jobs:check_method", "checks:print_checks", "target"
    ),
    "check-metric": Command(
        CheckMetricOptions, "jobs.checking.jobs:check_metric", "checks:print_checks", "target"
    ),
    "weights": Command(
        WeightsOptions, "jobs.catalogue:weights", "catalogue:print_weights", "name", False
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
    groups = {title: App(name=title, help=text) for title, text in GROUPS.items()}
    for name, command in COMMANDS.items():
        call = command_of(command.options, _caller(command), positional=command.positional.split())
        group, _, last = name.rpartition(" ")
        if name in groups:
            groups[name].default(call)
        else:
            (groups[group] if group else app).command(call, name=last)
    for several in (*groups.values(), bench):
        app.command(several)
    return app


def _caller(command: Command) -> Callable[[BaseModel], None]:
    """Return a function that runs a command's job and prints its result."""

    def call(options: BaseModel) -> None:
        from rich.console import Console

        from jobs.console.progress import terminal_progress
        from jobs.progress import Progress, SilentProgress

        job_name, printer = command.parts(options)
        job = Deferred(job_name)
        with ExitStack() as stack:
            progress: Progress = SilentProgress()
            if command.shows_progress:
                progress = stack.enter_context(terminal_progress(options))
            stack.enter_context(_quiet_stdout())
            result = job(options, progress)
        Deferred(f"jobs.console.{printer}")(Console(), result, options)

    return call


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Discard what Ray prints about dead workers to standard output; rows contain the reasons."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
