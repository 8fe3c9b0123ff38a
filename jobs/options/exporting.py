"""Options of the commands `irfuse export`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import Field, model_validator

from jobs.options.common import SELECTION, Flag, Json, LocationOptions, Names

Preset = Literal["mirror", "pair-id", "yolo"]
ImageFormat = Literal["png", "jpg"]


class ExportFolderOptions(LocationOptions):
    """Write the fused images of the run at RUN as image files below the folder OUT.

    PNG files hold exactly the pixels that were scored. Failed pairs are listed in
    OUT/_irfuse/skipped.csv. Run the same command again to resume after any interruption, or when
    the run has grown.
    """

    run: str
    """Output location of the run."""
    out: str
    """Folder to write: a new or empty one, or one that the same command has begun."""
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
    labels: str = "auto"
    """Label files to export with the names of the images: `auto` takes those that were found when
    the run began, or that the manifest names in its column label_uri, and `none` takes none. A
    folder is searched for files with the names of the pairs or of their images, or COCO files."""
    max_missing_labels: int | None = Field(default=None, ge=0)
    """Largest number of exported pairs without a label; with more, the command ends with status 1.
    0 by default for a folder of labels; otherwise there is no limit."""
    with_sources: Flag = False
    """Copy the infrared and visible files, too: with `mirror` to their own paths, otherwise below
    sources/."""
    classes: Names = ()
    """Names of the classes that data.yaml lists with the preset `yolo`, separated by commas; by
    default class0, class1, … as far as labels contain them."""
    where: Annotated[str | None, Parameter(group=SELECTION)] = None
    """Export the pairs for which a condition is true: SQL over the columns of the run, such as
    "EN > 6 AND subset = 'train'"."""
    partial: Flag = False
    """Export what there is of a run that is not finished."""
    threads: int | None = Field(default=None, ge=1, le=64)
    """Number of shards that are read and written at a time; 4 by default, or 16 if RUN or OUT is
    remote."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.name is not None and "preset" in self.model_fields_set:
            raise ValueError("Expected --preset or --name, but got both")
        if "quality" in self.model_fields_set and self.format != "jpg":
            raise ValueError("Expected --format jpg together with --quality")
        if self.classes and self.preset != "yolo":
            raise ValueError("Expected --preset yolo together with --classes")
        return self


class ExportCheckOptions(LocationOptions):
    """Compare the files of the export at OUT with what was written.

    Counts pairs and files, and names files that are missing, changed or foreign. Ends with status 1
    if there are any.
    """

    out: str
    """Folder of the export."""
    json_output: Json = False
    """Print JSON instead of the table."""
