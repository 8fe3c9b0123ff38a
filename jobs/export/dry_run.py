"""An export that is only tried: its problems, and the number and size of its files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from cluster.storage import Store
from fusion_core.errors import IrfuseError, RunFailedError
from fusion_core.wording import count_of
from jobs.export.folder import plan_folder
from jobs.export.hf import plan_hf
from jobs.export.record import ExportedShard, read_markers
from jobs.export.webdataset import plan_webdataset
from jobs.export.writing import ExportPlan, write_shards
from jobs.options import ExportFolderOptions, ExportHfOptions, ExportWebDatasetOptions
from jobs.output_checks import check_space, check_writable
from jobs.progress import Progress, SilentProgress

_SAMPLED_SHARDS, _SAMPLED_PAIRS = 4, 128
"""At least so many shards and pairs are tried, if there are so many."""

AnyExportOptions = ExportFolderOptions | ExportHfOptions | ExportWebDatasetOptions


class ExportDryRun(BaseModel):
    """What an export would do."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Folder of the export."""
    problems: list[str]
    """Why the export would not start."""
    writable: bool | None
    """Whether OUT can be written; None if that was not found out."""
    run: str | None = None
    """Name of the run; None if the export cannot be planned."""
    rows: int = 0
    """Number of rows of the run that are committed."""
    pairs: int = 0
    """Number of pairs to export."""
    pairs_left: int = 0
    """Number of those that are not written yet."""
    sampled: int = 0
    """Number of pairs that were written to a temporary folder."""
    labels: int = 0
    """Number of those that have a label."""
    files: int = 0
    """Number of files to write, as estimated from these pairs."""
    size: int = 0
    """Bytes of these files."""
    seconds: float = 0.0
    """Time that writing them would take if OUT were on the disk of temporary files."""
    example: str = ""
    """Key of a file."""

    def require_ready(self) -> None:
        """Raise an error if the export would not start.

        Raises:
            RunFailedError: There are problems.
        """
        if self.problems:
            raise RunFailedError(
                f"The export cannot be started as it is ({count_of(len(self.problems), 'problem')})"
            )


def dry_run_export(options: AnyExportOptions, progress: Progress | None = None) -> ExportDryRun:
    """Try an export: check everything that it needs, and estimate what it writes.

    The files of a few shards are made in a temporary folder. Nothing is written to the folder
    of the export, except for an object that is deleted again if `probe_write` is set.

    Args:
        options: Options of the export.
        progress: Receives the progress; silent by default.
    """
    progress = progress or SilentProgress()
    out, problems = options.store(options.out), list[str]()

    @contextmanager
    def noted() -> Iterator[None]:
        try:
            yield
        except IrfuseError as error:
            problems.append(str(error))

    writable: bool | None = False
    plan: ExportPlan | None = None
    found = ExportDryRun(out=out.url, problems=[], writable=None)
    with noted():
        writable = check_writable(out, probe=options.probe_write)
    with noted():
        plan = _plan(options, progress)
    if plan is not None:
        found = found.model_copy(update=_describe(plan))
        with noted():
            progress.message("Writing some of the files to a temporary folder")
            found = found.model_copy(update=_estimate(plan, _try(plan, options)))
            check_space(out, found.size)
    return found.model_copy(update={"problems": problems, "writable": writable})


def _plan(options: AnyExportOptions, progress: Progress) -> ExportPlan:
    if isinstance(options, ExportFolderOptions):
        return plan_folder(options, progress)
    if isinstance(options, ExportHfOptions):
        return plan_hf(options, progress)
    return plan_webdataset(options, progress)


def _describe(plan: ExportPlan) -> dict[str, str | int]:
    record = plan.target.record
    bounds = map(record.plan.bounds, plan.fit)
    return {
        "run": record.name,
        "rows": sum(end - first for first, end in bounds),
        "pairs": sum(plan.fit.values()),
        "pairs_left": sum(plan.fit[shard] for shard in plan.shards),
    }


@dataclass(frozen=True, slots=True)
class _Tried:
    """What writing some shards has made."""

    markers: Sequence[ExportedShard]
    seconds: float


def _try(plan: ExportPlan, options: AnyExportOptions) -> _Tried:
    """Write some shards to a temporary folder, each by itself."""
    left = [shard for shard in plan.shards if plan.fit[shard]]
    wanted = -(-_SAMPLED_PAIRS // plan.target.record.shard_size)
    count = min(max(_SAMPLED_SHARDS, wanted), len(left))
    chosen = [left[(2 * n + 1) * len(left) // (2 * count)] for n in range(count)]
    with tempfile.TemporaryDirectory(prefix="irfuse-") as folder:
        single = tuple(range(plan.target.record.plan.count)) if plan.large_files else ()
        export = plan.target.export.model_copy(update={"groups": single})
        target = replace(plan.target, out=Store(folder), requested=export, found=None)
        sample = replace(plan, target=target, exporter=plan.exporter.at(target), todo=chosen)
        here = options.model_copy(update={"address": None, "workers": None})
        started = time.monotonic()
        write_shards(sample, here, SilentProgress())
        seconds = time.monotonic() - started
        return _Tried(list(read_markers(target.out)), seconds)


def _estimate(plan: ExportPlan, tried: _Tried) -> dict[str, str | int | float]:
    pairs = sum(marker.pairs for marker in tried.markers)
    if not pairs:
        return {}
    scale = sum(plan.fit[shard] for shard in plan.shards) / pairs
    files = sum(len(marker.files) for marker in tried.markers)
    if plan.large_files:  # as many files in each group as there are splits or subsets in a shard
        files = round(files / len(tried.markers) * len(plan.todo))
    else:
        files = round(files * scale)
    return {
        "sampled": pairs,
        "labels": sum(len(marker.labels) for marker in tried.markers),
        "files": files,
        "size": round(sum(marker.size for marker in tried.markers) * scale),
        "seconds": tried.seconds * scale,
        "example": next(iter(tried.markers[0].images.values())),
    }
