"""Options of the jobs that fuse and score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic import Field

from fusion_core.choices import Device, ScoreColour, SixteenBit
from fusion_core.errors import InvalidValueError
from jobs.options.common import (
    RAY,
    DryRunOptions,
    Flag,
    ImageOptions,
    Json,
    KeyValues,
    LocationOptions,
    MonitoredOptions,
    Names,
    Size,
    SourceOptions,
)

if TYPE_CHECKING:
    from cluster.session import ClusterOptions


class JobOptions(SourceOptions, ImageOptions, MonitoredOptions, DryRunOptions):
    """Common options of fusing and scoring."""

    out: Annotated[str, Parameter(name=("--out", "-o"))]
    """Output location of the run: a folder or s3://bucket/prefix."""
    collection: str | None = Field(default=None, min_length=1)
    """Name of the collection in rows and tables; by default that of the source folder or manifest,
    without its extension."""
    metrics: Names | None = None
    """Metrics to compute, and presets of metrics such as `vifb`, separated by commas; by default
    those of the preset `default`. `irfuse metrics` lists them. Measures of pyiqa and torchmetrics
    are named as `pyiqa:lpips`."""
    score_colour: ScoreColour = "luma"
    """What metrics of colour images are computed of: their luma, each channel (the mean of the
    values counts), or what the program of each preset computes them of."""
    shard_size: int | None = Field(default=None, ge=1, le=100_000)
    """Pairs per shard; 64 by default, and fewer for small collections."""
    max_failure_rate: float = Field(default=0.1, ge=0.0, le=1.0)
    """Largest accepted share of failed pairs; a run with more failed pairs stops with an error."""
    retry_failed: Flag = False
    """Compute the failed rows of finished shards again."""
    verify: Flag = False
    """Read finished shards whole, images included, and compute damaged ones again."""
    json_output: Json = False
    """Print the result as one line of JSON instead of tables."""
    env: Annotated[KeyValues, Parameter(group=RAY)] = Field(default_factory=dict)
    """Environment that Ray makes on every node for the workers: pip=FILE, requirements in addition
    to what the node has, or image_uri=IMAGE, a container with irfuse, for which nodes need podman.
    It takes minutes; packages that are installed on the nodes are faster."""
    pair_timeout: Annotated[float, Parameter(group=RAY)] = Field(default=300.0, gt=0)
    """Seconds without progress after which a worker is considered hung and replaced."""
    memory_per_worker: Size | None = None
    """Memory that a worker requests of Ray, such as 2GB; 0 requests none. By default it is
    estimated for pairs of 1280x1024 pixels, and at most what the largest node has. Nodes get as
    many workers as their memory suffices for."""
    workers_per_gpu: Annotated[int, Parameter(group=RAY)] = Field(default=1, ge=1, le=100)
    """Number of workers that share a GPU, each with a CPU of its own."""

    def cluster(self) -> ClusterOptions:
        """Return the cluster and the resources to use."""
        return replace(
            super().cluster(),
            pair_timeout_s=self.pair_timeout,
            runtime_env=self._runtime_env(),
            memory_per_worker=self.memory_per_worker,
            workers_per_gpu=self.workers_per_gpu,
        )

    def _runtime_env(self) -> dict[str, Any]:
        """Return the environment in the notation of Ray.

        Raises:
            InvalidValueError: It is neither one of pip nor one of a container.
            StorageError: The file with requirements cannot be read.
        """
        if not self.env:
            return {}
        if len(self.env) != 1 or not self.env.keys() <= {"pip", "image_uri"}:
            raise InvalidValueError(
                f"Expected pip=FILE or image_uri=IMAGE as --env, but got {', '.join(self.env)}"
            )
        if "image_uri" in self.env:
            return {"image_uri": self.env["image_uri"]}
        store, name = self.file(self.env["pip"])
        lines = (line.partition(" #")[0].strip() for line in store.read(name).decode().splitlines())
        return {"pip": [line for line in lines if line and not line.startswith("#")]}


class FuseOptions(ImageOptions):
    """Fuse one pair, the infrared image IR and the visible image VIS, without Ray.

    `irfuse run` fuses whole collections.
    """

    ir: str
    """Infrared image (path or URL)."""
    vis: str
    """Visible image of the same size (path or URL)."""
    further_source: tuple[str, ...] = ()
    """Third source of the same size, such as near infrared, repeated for a fourth and so on, for
    methods that fuse any number of sources."""
    output: Annotated[str, Parameter(name=("--output", "-o"))]
    """Fused image to write, ending in .png or .tif."""
    method: str = "densefuse"
    """Fusion method: a name, which `irfuse methods` lists, or one of your own as FILE.py:NAME,
    MODULE:NAME, or a model file (.onnx, .pt2, .pt)."""
    params: Annotated[KeyValues, Parameter(name="--param")] = Field(default_factory=dict)
    """Parameter of the method as NAME=VALUE, repeated for each; `irfuse methods NAME` describes
    them."""
    weights: str | Path | None = None
    """Weight file (path or URL), the name of torchvision weights, or random:SEED for untrained
    weights; by default those that the method uses in `irfuse run`."""
    trust_code: str | None = None
    """First digits of the SHA-256 of a model file (.pt2, .pt), which executes code when it is
    loaded; `sha256sum FILE` prints it."""
    device: Device = "auto"
    """Device to compute on; `auto` uses a GPU if there is one."""
    show_scores: Flag = False
    """Score the fused image and print the scores."""
    metrics: Names | None = None
    """Metrics or presets whose scores are printed, separated by commas; implies --show-scores."""
    overwrite: Flag = False
    """Replace the fused image if it exists."""
    json_output: Json = False
    """Print JSON instead of text."""


class RunOptions(JobOptions):
    """Fuse and score every pair of SOURCE with a method.

    Writes one row per pair to OUT/shards and the statistics to OUT/summary.json. Run the same
    command again to resume after any interruption.
    """

    method: str = "densefuse"
    """Fusion method: a name, which `irfuse methods` lists, or one of your own as FILE.py:NAME,
    MODULE:NAME, or a model file (.onnx, .pt2, .pt)."""
    params: Annotated[KeyValues, Parameter(name="--param")] = Field(default_factory=dict)
    """Parameter of the method as NAME=VALUE, repeated for each; `irfuse methods NAME` describes
    them."""
    weights: str | Path | None = None
    """Weight file (path or URL), the name of torchvision weights for methods with ImageNet networks
    (IMAGENET1K_V1 by default), or random:SEED for untrained weights. By default autoencoders use
    the weights that are included in irfuse."""
    trust_code: str | None = None
    """First digits of the SHA-256 of a model file (.pt2, .pt), which executes code when it is
    loaded; `sha256sum FILE` prints it."""
    check: Annotated[bool, Parameter(negative=(), show_default=False)] = False
    """Check a method of your own first, as `irfuse check-method --quick` does, and stop if a check
    fails. The report is kept as OUT/checks.json."""
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


class DemoOptions(LocationOptions):
    """Fuse a small synthetic collection with DenseFuse.

    Writes the collection to FOLDER/source and the run to FOLDER/run.
    """

    folder: str = "irfuse-demo"
    """Folder for the synthetic collection and the run."""
