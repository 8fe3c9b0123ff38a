"""What is printed about exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from fusion_core.wording import bytes_of, count_of, duration_of
from jobs.console.dry_run import writable_text
from jobs.console.layout import print_labelled
from jobs.console.printing import print_lines
from jobs.metric_text import value_text

if TYPE_CHECKING:
    from jobs.export.check import ExportCheck
    from jobs.export.clashes import Clash
    from jobs.export.dry_run import ExportDryRun
    from jobs.export.folder import FolderExport
    from jobs.export.hf import HfExport
    from jobs.export.loss import JpegLoss
    from jobs.export.webdataset import WebDatasetExport
    from jobs.options import (
        ExportCheckOptions,
        ExportFolderOptions,
        ExportHfOptions,
        ExportOptions,
        ExportWebDatasetOptions,
    )

_MOST_KEYS = 5


def print_dry_run(console: Console, result: ExportDryRun, options: ExportOptions) -> None:
    """Print what an export would write, and its problems.

    Raises:
        RunFailedError: There are problems.
    """
    for label, text in _dry_lines(result):
        print_labelled(console, label, text)
    print_lines(console, "Nothing was written.")
    result.require_ready()


def _dry_lines(result: ExportDryRun) -> Iterator[tuple[str, str]]:
    if result.run is not None:
        written = result.pairs - result.pairs_left
        done = f", of which {written:,} are written already" if written else ""
        yield "Run", f"{result.run}: {result.rows:,} rows"
        yield "Pairs", f"{result.pairs:,} to export{done}"
    yield "OUT", f"{result.out}: {writable_text(result.writable)}"
    if result.sampled:
        yield "Sample", f"{result.sampled} pairs, {result.labels} with a label; {result.example}"
        yield (
            "Estimate",
            f"{count_of(result.files, 'file')}, {bytes_of(result.size)}; "
            f"{duration_of(result.seconds)} if OUT is as fast as the disk of temporary files",
        )
    elif result.run is not None and not result.pairs_left:
        yield "Estimate", "all files are written already"
    for problem in result.problems:
        yield "Problem", problem


def print_folder(console: Console, result: FolderExport, options: ExportFolderOptions) -> None:
    """Print how many pairs were exported, and what was left out.

    Raises:
        ManifestError: More pairs have no label than was accepted.
    """
    print_lines(
        console,
        f"{result.run}: {result.pairs} of {result.rows + result.unfinished} pairs exported, "
        f"{result.written} newly written; {result.files} files, {bytes_of(result.size)}",
    )
    left = {
        "failed": result.failed,
        "left out by --where or --split": result.unfit,
        "not computed yet": result.unfinished,
    }
    counts = [f"{count} {what}" for what, count in left.items() if count]
    if counts:
        print_lines(console, f"Without a file: {', '.join(counts)}")
    if result.failed or result.unfit:
        print_lines(console, f"Listed in: {result.out}/_irfuse/skipped.csv")
    print_lines(console, f"Images: {result.out}/{result.example}" if result.example else "")
    if result.labels or result.most_missing_labels is not None:
        print_lines(console, *_labels(result))
    print_lines(console, *result.notes)
    if result.loss is not None:
        print_lines(console, *_loss(result.loss))
    result.require_labels()


def print_webdataset(
    console: Console, result: WebDatasetExport, options: ExportWebDatasetOptions
) -> None:
    """Print how many pairs were exported to how many tar files.

    Raises:
        ManifestError: More pairs have no label than was accepted.
    """
    print_lines(
        console,
        f"{result.run}: {result.pairs} pairs exported, {result.written} newly written; "
        f"{result.tars} tar files, {bytes_of(result.size)}",
    )
    if result.failed or result.unfit:
        print_lines(
            console,
            f"Left out: {result.failed} failed, {result.unfit} by --where; listed in "
            f"{result.out}/_irfuse/skipped.csv",
        )
    if result.labels:
        print_lines(console, f"Labels: {result.labels} of {result.pairs} pairs")
    print_lines(console, f"Files:  {result.out}/{result.example}, meta.json")
    result.require_labels()


def print_hf(console: Console, result: HfExport, options: ExportHfOptions) -> None:
    """Print how many pairs were exported to which splits.

    Raises:
        ManifestError: More pairs have no label than was accepted.
    """
    splits = ", ".join(f"{count} in {split}" for split, count in result.splits.items())
    print_lines(
        console,
        f"{result.run}: {result.pairs} pairs exported ({splits}), {result.written} newly written; "
        f"{bytes_of(result.size)}",
    )
    if result.failed or result.unfit:
        print_lines(
            console,
            f"Left out: {result.failed} failed, {result.unfit} by --where or --split; listed in "
            f"{result.out}/_irfuse/skipped.csv",
        )
    print_lines(console, *result.notes)
    if result.labels:
        print_lines(console, f"Labels: {result.labels} of {result.pairs} pairs")
    print_lines(console, f"Card:   {result.out}/README.md")
    result.require_labels()


def _labels(result: FolderExport) -> Iterator[str]:
    missing = f", {result.missing_labels} missing" if result.missing_labels else ""
    example = f": {result.out}/{result.label_example}" if result.label_example else ""
    yield f"Labels: {result.labels} of {result.pairs} pairs{missing}{example}"
    if result.coco_dropped:
        yield f"{result.coco_dropped} images of COCO files have no fused image and were dropped"


def _loss(loss: JpegLoss) -> Iterator[str]:
    yield (
        f"JPEG changes the images ({loss.pairs} pairs compared): PSNR {loss.psnr:.2f} dB, lowest "
        f"{loss.lowest_psnr:.2f} dB"
    )
    if loss.scores:
        changes = ", ".join(
            f"{name} {'+' if value >= 0 else ''}{value_text(name, value)}"
            for name, value in loss.scores.items()
        )
        yield f"Mean change of the scores: {changes}"


def print_check(console: Console, found: ExportCheck, options: ExportCheckOptions) -> None:
    """Print the result of a check.

    Raises:
        StorageError: Files are missing, changed or foreign, labels are lost, or names clash.
    """
    if options.json_output:
        print(found.model_dump_json(indent=2, ensure_ascii=True))
    else:
        unfinished = f", {found.unfinished} not exported yet" if found.unfinished else ""
        print_lines(
            console,
            f"{found.run}: {found.pairs} pairs, {found.skipped} skipped{unfinished}; "
            f"{found.files} files, {bytes_of(found.size)}",
        )
        if found.labels or found.lost_labels:
            lost = f", {len(found.lost_labels)} lost" if found.lost_labels else ""
            print_lines(console, f"Labels: {found.labels} found, {found.unlabelled} missing{lost}")
        kinds = {
            "missing": found.missing,
            "changed": found.changed,
            "foreign": found.foreign,
            "lost label of": found.lost_labels,
            "same name": [_clash(clash) for clash in found.clashes],
        }
        for kind, keys in kinds.items():
            print_lines(console, *(f"    {kind}  {key}" for key in keys[:_MOST_KEYS]))
            if len(keys) > _MOST_KEYS:
                print_lines(console, f"    … and {len(keys) - _MOST_KEYS} more")
    found.require_sound()


def _clash(clash: Clash) -> str:
    pairs = f" of {', '.join(clash.pairs[:_MOST_KEYS])}" if clash.pairs else ""
    return f"{', '.join(clash.names[:_MOST_KEYS])}{pairs}"
