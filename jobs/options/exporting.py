"""Options of the commands `irfuse export`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from cyclopts import Parameter
from pydantic import BeforeValidator, Field, model_validator

from jobs.options.common import (
    DRY_RUN,
    RAY,
    SELECTION,
    Flag,
    Json,
    LocationOptions,
    Names,
    ProbeOptions,
)

if TYPE_CHECKING:
    from cluster.session import ClusterOptions

_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}


def parse_size(given: Any) -> Any:  # noqa: ANN401
    """Return a number of bytes such as `256MB`; other values are left to the validation.

    >>> parse_size("256MB")
    256000000
    """
    parts = re.fullmatch(r"([0-9]+) *([KMG]?B?)", given.upper()) if isinstance(given, str) else None
    return int(parts[1]) * _UNITS[parts[2]] if parts and parts[2] in _UNITS else given


def _split_files(given: Any) -> Any:  # noqa: ANN401
    """Return the files of splits; the word `subset` stands for none."""
    files = [given] if isinstance(given, str) else given
    return () if files in (["subset"], ("subset",)) else files


SplitFiles = Annotated[tuple[str, ...], BeforeValidator(_split_files)]
Preset = Literal["mirror", "pair-id", "yolo"]
ImageFormat = Literal["png", "jpg"]


class ExportOptions(ProbeOptions):
    """Options of every export."""

    run: str
    """Output location of the run."""
    out: str
    """Folder to write: a new or empty one, or one that the same command has begun."""
    labels: str = "auto"
    """Label files to export with the names of the images: `auto` takes those that were found when
    the run began, or that the manifest names in its column label_uri, and `none` takes none. A
    folder is searched for files with the names of the pairs or of their images, or COCO files."""
    max_missing_labels: int | None = Field(default=None, ge=0)
    """Largest number of exported pairs without a label; with more, the command ends with status 1.
    0 by default for a folder of labels; otherwise there is no limit."""
    with_sources: Flag = False
    """Copy the infrared and visible files, too."""
    where: Annotated[str | None, Parameter(group=SELECTION)] = None
    """Export the pairs for which a condition is true: SQL over the columns of the run, such as
    "EN > 6 AND subset = 'train'"."""
    threads: int | None = Field(default=None, ge=1, le=64)
    """Number of shards that are read and written at a time, by each worker if there are several: by
    default 8, or 16 if RUN or OUT is remote, and of files that are made in memory a quarter of
    that."""
    address: Annotated[str | None, Parameter(group=RAY)] = None
    """Address of a Ray cluster whose workers write the files. By default this process writes them,
    or with --workers a Ray that is started on this machine."""
    workers: Annotated[int | None, Parameter(group=RAY)] = Field(default=None, ge=1)
    """Number of workers, with one CPU each; with --address, by default as many as the cluster has
    CPUs. They write the same bytes as this process."""
    dry_run: Annotated[Flag, Parameter(group=DRY_RUN)] = False
    """Check everything that the export needs, make some of the files in a temporary folder to
    estimate number and size of all, and write nothing to OUT. Ends with status 1 if the export
    would not start."""

    def cluster(self) -> ClusterOptions | None:
        """Return the cluster to use, or None if this process writes the files."""
        from cluster.session import ClusterOptions

        if self.address is None and self.workers is None:
            return None
        return ClusterOptions(address=self.address, workers=self.workers, device="cpu")


class ExportFolderOptions(ExportOptions):
    """Write the fused images of the run at RUN as image files below the folder OUT.

    PNG files hold exactly the pixels that were scored. Failed pairs are listed in
    OUT/_irfuse/skipped.csv. Run the same command again to resume after any interruption, or when
    the run has grown.
    """

    preset: Preset = "mirror"
    """Names of the files: `mirror` keeps the tree of the visible images with the folder `fused` in
    place of theirs (fused/train/010001.png), `pair-id` has the names that `irfuse score --fused`
    expects, and `yolo` is images/SUBSET/NAME.png with a data.yaml."""
    name: str | None = None
    """Template of the names in place of a preset, such as '{subset}/{stem}.{ext}'. Its fields are
    pair_id, subset, stem, ir_stem, vis_stem, vis_dir and ext."""
    format: ImageFormat | None = None
    """Format of the files. By default, the images are copied as they are: PNG, or the files that a
    run of `irfuse score` has read. JPEG is lossy: the images differ from those that were scored,
    and the command prints by how much."""
    quality: int = Field(default=95, ge=1, le=100)
    """Quality of JPEG, whose chroma is not subsampled."""
    with_sources: Flag = False
    """Copy the infrared and visible files, too: with `mirror` to their own paths, otherwise below
    sources/."""
    classes: Names = ()
    """Names of the classes that data.yaml lists with the preset `yolo`, separated by commas; by
    default class0, class1, … as far as labels contain them."""
    split: Annotated[SplitFiles, Parameter(group=SELECTION)] = ()
    """Text file of the pairs of a split, such as train.txt or align_validation.txt, repeated for
    each. A line is a pair_id, or the path or name of an image, and may be followed by the split
    (NAME SPLIT). Pairs in no file are left out. By default, `subset`, the subsets are the splits;
    with files, --preset yolo and {subset} in --name have the split in place of the subset."""
    partial: Flag = False
    """Export what there is of a run that is not finished."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.name is not None and "preset" in self.model_fields_set:
            raise ValueError("Expected --preset or --name, but got both")
        if "quality" in self.model_fields_set and self.format != "jpg":
            raise ValueError("Expected --format jpg together with --quality")
        named = self.preset == "yolo" if self.name is None else "{subset}" in self.name
        if self.split and not named:
            raise ValueError("Expected --preset yolo, or a --name with {subset}, with --split")
        if self.classes and self.preset != "yolo":
            raise ValueError("Expected --preset yolo together with --classes")
        return self


class ExportWebDatasetOptions(ExportOptions):
    """Write the pairs of the finished run at RUN as tar files for WebDataset below the folder OUT.

    Of each pair, the tar files hold the fused image, the sources and the label on request, and the
    row as JSON. Their bytes do not depend on threads and interruptions. Run the same command again
    to resume.
    """

    shard_bytes: Annotated[int, BeforeValidator(parse_size)] = Field(default=128_000_000, ge=1)
    """Size at which a tar file is full, such as 256MB, from whole shards of the run. As many bytes
    per thread are held in memory."""


class ExportHfOptions(ExportOptions):
    """Write the pairs of the finished run at RUN as a dataset of Hugging Face below the folder OUT.

    Parquet files below data/ hold the fused image, the scores and, on request, the sources of each
    pair; labels become boxes (objects) or masks. README.md is the card. Nothing is uploaded. Run
    the same command again to resume.
    """

    license: str | None = None
    """Licence in the card, such as cc-by-4.0; `other` by default. It must be permitted by that of
    the collection."""
    classes: Names = ()
    """Names of the class numbers in labels of YOLO, separated by commas."""
    split: Annotated[SplitFiles, Parameter(group=SELECTION)] = ()
    """Text file of the pairs of a split, such as train.txt or align_validation.txt, repeated for
    each. A line is a pair_id, or the path or name of an image, and may be followed by the split
    (NAME SPLIT). Pairs in no file are left out. By default, `subset`, the names of the subsets
    decide."""


class ExportCheckOptions(LocationOptions):
    """Compare the files of the export at OUT with what was written.

    Counts pairs, files and labels. Names files that are missing, changed or foreign, pairs whose
    label is lost, and file names that are equal or differ in letter case only, and ends with status
    1 if there are any.
    """

    out: str
    """Folder of the export."""
    json_output: Json = False
    """Print JSON instead of the table."""
