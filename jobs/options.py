"""Options of the jobs: one frozen model per job.

The command line is derived from them: docstrings are the help of commands and options.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from cyclopts import Group, Parameter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cluster.collections import Layout
from fusion_core.choices import (
    DEFAULT_MAX_PIXELS,
    LARGEST_MAX_PIXELS,
    SMALLEST_CROP,
    Autoencoder,
    Device,
    PixelNorm,
    Precision,
    ResidualConvolutions,
    Resize,
    ScoreColour,
    SixteenBit,
)
from jobs.key_values import parse_bands, parse_key_values, parse_typed_key_values

if TYPE_CHECKING:
    from cluster.session import ClusterOptions
    from cluster.storage import Store
    from fusion_core.images import Bands


_SELECTION = Group("Selection", sort_key=1)
_RAY = Group("Ray", sort_key=2)
_STORAGE = Group("Storage", sort_key=3)


def _split_names(given: Any) -> Any:  # noqa: ANN401
    """Split names at commas; other values are left to the validation."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return given
    return tuple(part for name in names for part in name.split(",") if part)


KeyValues = Annotated[dict[str, Any], BeforeValidator(parse_key_values)]
TypedKeyValues = Annotated[dict[str, Any], BeforeValidator(parse_typed_key_values)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
Flag = Annotated[bool, Parameter(negative=())]
Json = Annotated[Flag, Parameter(name="--json")]


class LocationOptions(BaseModel):
    """Options of every job that reads or writes a location."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # the input may be a secret
    )

    storage_options: Annotated[TypedKeyValues, Parameter(group=_STORAGE)] = Field(
        default_factory=dict, repr=False, exclude=True
    )
    """Option for fsspec as NAME=VALUE, repeated for each, or one JSON object. A VALUE is JSON, such
    as false or 10, or text. Credentials come from the usual chain of the provider."""

    def store(self, url: str) -> Store:
        """Return the store at a location.

        Raises:
            StorageError: The location contains a password or a query, or its protocol is unknown.
        """
        from cluster.storage import Store

        return Store(url, self.storage_options)

    def file(self, url: str) -> tuple[Store, str]:
        """Return the store of an object's folder, and the object's key in it.

        Raises:
            StorageError: As `store`.
        """
        from cluster.storage import split_object_url

        folder, name = split_object_url(url)
        return self.store(folder), name


class RayOptions(LocationOptions):
    """Options of the jobs that compute on Ray."""

    address: Annotated[str | None, Parameter(group=_RAY)] = None
    """Address of a Ray cluster. By default RAY_ADDRESS is used, or Ray is started on this
    machine."""
    workers: Annotated[int | None, Parameter(group=_RAY)] = Field(default=None, ge=1)
    """Number of workers. By default there is one per GPU, or one per CPU if there is no GPU."""
    device: Annotated[Device, Parameter(group=_RAY)] = "auto"
    """Device to compute on; `auto` uses GPUs if the cluster has any."""
    start_timeout: Annotated[float, Parameter(group=_RAY)] = Field(default=900.0, gt=0)
    """Seconds to wait for the first worker to be placed and ready."""

    def cluster(self) -> ClusterOptions:
        """Return the cluster and the resources to use."""
        from cluster.session import ClusterOptions

        return ClusterOptions(
            address=self.address,
            workers=self.workers,
            device=self.device,
            start_timeout_s=self.start_timeout,
        )


class SourceOptions(LocationOptions):
    """Options of every job that takes a collection."""

    source: str
    """Folder of pairs (local path, s3://, gs://), or a manifest (.csv, .parquet)."""
    layout: Layout = "auto"
    """Layout of the pairs in the source folder; `auto` detects it."""
    ir: str | None = None
    """Folder of the infrared images below the source, or a pattern of them such as 'cam1/*.png'. An
    image belongs to the visible one for which the wildcards of both patterns stand for the same
    text."""
    vis: str | None = None
    """Folder or pattern of the visible images, together with --ir."""
    subset: Annotated[tuple[str, ...], Parameter(group=_SELECTION)] = ()
    """Subset to take, or a folder of subsets (set00 for set00/V000); repeated for each. By default
    all pairs are taken."""
    where: Annotated[str | None, Parameter(group=_SELECTION)] = None
    """Take the pairs for which a condition is true: SQL over the columns of the manifest, such as
    "subset = 'train' AND pair_id LIKE '%D'". Columns of a CSV manifest are text (frame::int > 100).
    """
    sample: Annotated[int | None, Parameter(group=_SELECTION)] = Field(default=None, ge=1)
    """Draw this number of pairs, the same ones for the same --seed, in whatever order the pairs are
    found. A larger sample contains a smaller one."""
    seed: Annotated[int | None, Parameter(group=_SELECTION)] = Field(default=None, ge=0)
    """Seed of --sample; 0 by default."""
    limit: Annotated[int | None, Parameter(group=_SELECTION)] = Field(default=None, ge=1)
    """Take only this number of pairs from the beginning, after all other options."""
    allow_local_files: Annotated[bool, Parameter(group=_STORAGE)] = False
    """Allow a manifest on remote storage to refer to files of the local file system."""


class ImageOptions(LocationOptions):
    """Options of every job that decodes pairs."""

    band: Annotated[dict[str, str], BeforeValidator(parse_bands), Parameter(metavar="BAND")] = (
        Field(default_factory=dict)
    )
    """Band to read of an infrared file with many bands: its number from 1 or its name. ir=BAND and
    vis=BAND, or vis=RED,GREEN,BLUE, select those of both images."""
    resize: Resize = "off"
    """Bring sources of different sizes to one size: `smaller` reduces the larger image, `visible`
    resizes the infrared one. They must show the same scene: nothing is shifted or cropped."""
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image in pixels, width times height."""

    @property
    def bands(self) -> Bands:
        """The bands that are selected.

        Raises:
            InvalidValueError: Neither one nor three bands of an image are selected.
        """
        from fusion_core.images import Bands, split_bands

        for selected in self.band.values():
            split_bands(selected)
        return Bands(**self.band)


class JobOptions(SourceOptions, ImageOptions, RayOptions):
    """Common options of fusing and scoring."""

    out: Annotated[str, Parameter(name=("--out", "-o"))]
    """Output location of the run: a folder or s3://bucket/prefix."""
    collection: str | None = Field(default=None, min_length=1)
    """Name of the collection in rows and tables; by default that of the source folder or manifest,
    without its extension."""
    metrics: Names | None = None
    """Names of the metrics to compute and of presets such as `vifb`, separated by commas; the
    preset `default` by default. `irfuse metrics` lists them."""
    score_colour: ScoreColour = "luma"
    """What metrics of colour images are computed of: their luma, each channel (the mean of the
    values counts), or what the program of each preset computes them of."""
    shard_size: int | None = Field(default=None, ge=1, le=100_000)
    """Pairs per shard; 64 by default, and fewer for small collections."""
    max_failure_rate: float = Field(default=0.1, ge=0.0, le=1.0)
    """Largest accepted share of failed pairs; a run with more failed pairs stops with an error."""
    retry_failed: bool = False
    """Compute the failed rows of finished shards again."""
    verify: bool = False
    """Read finished shards whole, images included, and compute damaged ones again."""
    pair_timeout: Annotated[float, Parameter(group=_RAY)] = Field(default=300.0, gt=0)
    """Seconds without progress after which a worker is considered hung and replaced."""

    def cluster(self) -> ClusterOptions:
        """Return the cluster and the resources to use."""
        return replace(super().cluster(), pair_timeout_s=self.pair_timeout)


class FuseOptions(ImageOptions):
    """Fuse one pair, the infrared image IR and the visible image VIS, without Ray.

    `irfuse run` fuses whole collections.
    """

    ir: str
    """Infrared image (path or URL)."""
    vis: str
    """Visible image of the same size."""
    output: Annotated[str, Parameter(name=("--output", "-o"))]
    """Fused image to write, ending in .png or .tif."""
    method: str = "densefuse"
    """Fusion method; `irfuse methods` lists them."""
    params: Annotated[KeyValues, Parameter(name="--param")] = Field(default_factory=dict)
    """Parameter of the method as NAME=VALUE, repeated for each; `irfuse methods NAME` describes
    them."""
    weights: str | Path | None = None
    """Weight file (path or URL), the name of torchvision weights, or random:SEED for untrained
    weights; by default those that the method uses in `irfuse run`."""
    device: Device = "auto"
    """Device to compute on; `auto` uses a GPU if there is one."""
    show_scores: Annotated[bool, Parameter(negative=())] = False
    """Score the fused image and print the scores."""
    metrics: Names | None = None
    """Names of the metrics or presets to print, separated by commas; implies --show-scores."""
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace the fused image if it exists."""
    json_output: Json = False
    """Print JSON instead of text."""


class RunOptions(JobOptions):
    """Fuse and score every pair of SOURCE with a method.

    Writes one row per pair to OUT/shards and the statistics to OUT/summary.json. Run the same
    command again to resume after any interruption.
    """

    method: str = "densefuse"
    """Fusion method; `irfuse methods` lists them."""
    params: Annotated[KeyValues, Parameter(name="--param")] = Field(default_factory=dict)
    """Parameter of the method as NAME=VALUE, repeated for each; `irfuse methods` lists them."""
    weights: str | Path | None = None
    """Weight file (path or URL), the name of torchvision weights for methods with ImageNet networks
    (IMAGENET1K_V1 by default), or random:SEED for untrained weights. By default autoencoders use
    the weights that are included in irfuse."""
    name: str | None = Field(default=None, min_length=1)
    """Name of the run in rows and tables; by default the method and the parameters that differ from
    their defaults. A run with random weights is marked [untrained]."""
    keep_images: bool = True
    """Keep the fused images in the shards; otherwise only the scores are kept."""


class ScoreOptions(JobOptions):
    """Score existing fused images against the pairs of SOURCE.

    Writes the same rows and statistics as `irfuse run`, and resumes in the same way.
    """

    fused: str | None = None
    """Folder of the fused images, which are matched to the pairs by pair_id or file name. By
    default their locations are taken from the column fused_uri of the manifest."""
    reference: str | None = None
    """Folder of reference images, which show what the fused images should be and are matched in the
    same way. The fused images are compared with them in addition: SSIM_ref, PSNR_ref, MSE_ref and
    VIF_ref."""
    name: str = Field(min_length=1)
    """Name of the method that created the images, for rows and tables."""
    sixteen_bit: SixteenBit = "percentile"
    """Range of 16-bit and floating-point images that is mapped to 8 bits: their 1st to 99th
    percentile, or all."""


class PairsOptions(SourceOptions):
    """Find the pairs of SOURCE, show what was found, and write them as a manifest with --output."""

    output: Annotated[str | None, Parameter(name=("--output", "-o"))] = None
    """Manifest to write, ending in .parquet; by default nothing is written."""
    check: Flag = False
    """Read the headers of all images, and show their sizes, bit depths and colours, and the pairs
    that cannot be fused as they are. Ends with status 1 if there are any."""


class StatusOptions(LocationOptions):
    """Report the progress of the run at OUT and the reasons of failed pairs."""

    out: str
    """Output location of the run."""
    failures: int = Field(default=10, ge=0)
    """Number of failed pairs to show with their reasons."""
    json_output: Json = False
    """Print JSON instead of the table."""


class VerifyOptions(LocationOptions):
    """Read every shard of the run at OUT whole, and compare it with what was committed.

    Ends with status 1 if shards are damaged.
    """

    out: str
    """Output location of the run."""
    json_output: Json = False
    """Print JSON instead of the table."""


class ShowOptions(LocationOptions):
    """Draw pairs of the run at OUT as a picture: infrared, visible and fused image, with scores.

    Shows the given pairs, those with the best or the worst scores, or failed pairs with their
    reasons; by default pairs from all parts of the collection.
    """

    out: str
    """Output location of the run."""
    pairs: Annotated[tuple[str, ...], Parameter(show_default=False)] = ()
    """Pairs to show: pair ids, or their last parts."""
    best: str | None = None
    """Metric: show the pairs with the best scores."""
    worst: str | None = None
    """Metric: show the pairs with the worst scores."""
    failed: Annotated[bool, Parameter(negative=())] = False
    """Show failed pairs with their reasons."""
    count: int = Field(default=6, ge=1, le=100)
    """Number of pairs of each kind."""
    output: Annotated[str | None, Parameter(name=("--output", "-o"))] = None
    """Picture to write, ending in .png; OUT/sheet.png by default. An existing one is replaced."""


class SummarizeOptions(LocationOptions):
    """Compute the statistics of the runs at OUTS from their shards again, and compare the runs.

    Writes summary.json and summary.csv next to the shards. Prints the means of all metrics, a line
    per run, and marks the best and the second best among runs of the same pairs.
    """

    outs: tuple[str, ...] = Field(min_length=1)
    """Output locations of one or more runs."""
    full: Flag = False
    """Print a table of all statistics for each run and subset: mean and its 95 % interval, standard
    deviation, quartiles, minimum and maximum."""
    json_output: Json = False
    """Print all statistics as JSON, one record per run, subset and metric."""
    csv_output: Annotated[Flag, Parameter(name="--csv")] = False
    """Print all statistics as CSV, one line per run, subset and metric."""
    markdown: Flag = False
    """Print the comparison as Markdown."""
    latex: Flag = False
    """Print the comparison as LaTeX, for booktabs."""

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        forms = ("full", "json_output", "csv_output", "markdown", "latex")
        chosen = [f"--{form.removesuffix('_output')}" for form in forms if getattr(self, form)]
        if len(chosen) > 1:
            raise ValueError(f"Expected one of {' and '.join(chosen)}, but got both")
        return self


class TrainOptions(RayOptions):
    """Train the autoencoder of METHOD to reconstruct images.

    Writes METHOD.safetensors for --weights, a card with its metadata, and the learning curves. Run
    the same command again to resume from the last checkpoint after any interruption. The defaults
    are those of the method's paper.
    """

    method: Autoencoder
    """Method whose autoencoder is trained."""
    out: Annotated[str, Parameter(name=("--out", "-o"))]
    """Output location of the training: a folder or s3://bucket/prefix."""
    images: str | None = None
    """Folder of training images (local path, s3://, gs://), from which gray crops are taken."""
    single_image: str | None = None
    """Single training image instead of a folder, of which only the center is used (Res2NetFuse,
    section III-B)."""
    pixel_norm: PixelNorm | None = None
    """Pixel loss: Euclidean distance (default of densefuse), or mean squared error (default of
    res2netfuse)."""
    ssim_weight: float | None = Field(default=None, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of the SSIM loss; 100 by default for densefuse, 1 for res2netfuse."""
    learning_rate: float | None = Field(default=None, gt=0.0, le=1.0)
    """Learning rate of Adam; 0.0001 by default."""
    batch: int | None = Field(default=None, ge=1, le=4096)
    """Crops per step; 2 by default for densefuse, 4 for res2netfuse, 1 for a single image."""
    epochs: int = Field(default=4, ge=1, le=1_000_000)
    """Number of epochs, in each of which every image is used once."""
    iterations: int | None = Field(default=None, ge=1, le=100_000_000)
    """Number of steps, instead of epochs; 2000 by default for a single image."""
    crop: int = Field(default=256, ge=SMALLEST_CROP, le=4096)
    """Side of the crops in pixels; smaller images are enlarged."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the initial weights, the order of the images and the positions of the crops."""
    precision: Precision = "fp32"
    """Precision of the forward and backward passes."""
    convolutions: ResidualConvolutions = "shared"
    """Convolutions of the residual block of Res2NetFuse; `irfuse methods` describes them."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints, from which an interrupted training resumes."""
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image in pixels, width times height."""
    workers: Annotated[int, Parameter(group=_RAY)] = Field(default=1, ge=1)
    """Number of workers that share each batch evenly, each with its own CPU or GPU."""


class ReconstructOptions(LocationOptions):
    """Measure how well the autoencoder of METHOD reconstructs images: SSIM, PSNR and MSE.

    Writes one row per image, and prints the means. Run the same command again to resume after any
    interruption, to add new images, or to try failed images again.
    """

    method: Autoencoder
    """Method whose autoencoder reconstructs the images."""
    images: str
    """Folder of images, which are converted to gray."""
    output: Annotated[str, Parameter(name=("--output", "-o"))]
    """Table to write, ending in .parquet."""
    weights: str | Path | None = None
    """Weight file (path or URL), or random:SEED for untrained weights; by default the weights that
    are included in irfuse."""
    params: Annotated[KeyValues, Parameter(name="--param")] = Field(default_factory=dict)
    """Parameter of the method as NAME=VALUE, repeated for each."""
    device: Device = "auto"
    """Device to compute on; `auto` uses a GPU if there is one."""
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image in pixels, width times height."""
    json_output: Json = False
    """Print JSON instead of the table."""


class DemoOptions(LocationOptions):
    """Fuse a small synthetic collection with DenseFuse.

    Writes the collection to FOLDER/source and the run to FOLDER/run.
    """

    folder: str = "irfuse-demo"
    """Folder for the synthetic collection and the run."""


class _CatalogueOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    json_output: Json = False
    """Print JSON instead of the table."""


class MethodsOptions(_CatalogueOptions):
    """List the fusion methods, or describe one with its paper, weights and parameters."""

    name: str | None = None
    """Method to describe; all are listed by default."""


class MetricsOptions(_CatalogueOptions):
    """List the metrics, describe one or a preset, or find the metric that has a published value."""

    names: tuple[str, ...] = ()
    """Metric or preset to describe; all metrics are listed by default. With --identify: the
    infrared, visible and fused image of the published value (local paths, s3://, gs://)."""
    identify: str | None = None
    """Published value as NAME=VALUE with all its digits, such as PSNR=67.85. The metrics and
    dialects that are printed under that name are computed, and those with this value are shown."""


class WeightsOptions(_CatalogueOptions):
    """List the weights that irfuse includes or that torchvision publishes, and verify them.

    The digest of every file that is on this machine is compared with the published one.
    """

    name: str | None = None
    """Weights to describe; all are listed by default."""
