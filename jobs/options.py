"""Options of the jobs: one frozen model each, for the command line, `run.json` and Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fusion_core.choices import (
    DEFAULT_MAX_PIXELS,
    LARGEST_MAX_PIXELS,
    SMALLEST_CROP,
    Autoencoder,
    Device,
    PixelNorm,
    Precision,
    ResidualConvolutions,
    SixteenBit,
)

Layout = Literal["auto", "folders", "prefix", "suffix", "infix", "four_channel"]


class JobOptions(BaseModel):
    """Options that fusing and scoring share."""

    # Errors that repeat what was given could repeat a secret.
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    source: str
    """Folder of pairs (local path, s3://, gs://), or a manifest (.csv, .parquet)."""
    out: str
    """Where the run is kept: a folder or s3://bucket/prefix."""
    metrics: tuple[str, ...] | None = None
    """Metrics to compute; all by default."""
    layout: Layout = "auto"
    """How pairs lie in the source folder; found out by default."""
    shard_size: int | None = Field(default=None, ge=1, le=100_000)
    """Pairs a shard; by default 64, and fewer for small collections."""
    max_failure_rate: float = Field(default=0.1, ge=0.0, le=1.0)
    """Largest share of failed pairs before the run counts as failed and stops."""
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image, width times height."""
    retry_failed: bool = False
    """Compute the failed rows of finished shards again."""
    address: str | None = None
    """Ray cluster; by default RAY_ADDRESS, or else a Ray of its own on this machine."""
    workers: int | None = Field(default=None, ge=1)
    """Number of workers; by default one a GPU, or one a CPU where there is none."""
    device: Device = "auto"
    """Where to compute."""
    pair_timeout: float = Field(default=300.0, gt=0)
    """Seconds without any progress before a worker is taken for hung."""
    start_timeout: float = Field(default=900.0, gt=0)
    """Seconds to wait for the first worker to be placed and ready."""
    allow_local_files: bool = False
    """Let a manifest on remote storage name files of the local file system."""
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    """Options for fsspec, such as endpoint_url; credentials come from the usual chain."""


class RunOptions(JobOptions):
    """Options of `irfuse run`."""

    method: str = "densefuse"
    """Fusion method; see `irfuse methods`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the method; see `irfuse methods`."""
    weights: str | Path | None = None
    """Weight file (path or URL), the name of torchvision's weights (methods on ImageNet networks;
    IMAGENET1K_V1 by default), or random:SEED for untrained weights; autoencoders have weights of
    irfuse's own by default."""
    keep_images: bool = True
    """Keep the fused images in the shards; without them only the scores are kept."""


class ScoreOptions(JobOptions):
    """Options of `irfuse score`."""

    fused: str | None = None
    """Folder with the fused images, matched to the pairs by pair_id or file stem; by default the
    manifest's column fused_uri names them."""
    name: str = Field(min_length=1)
    """What the rows' method column says."""
    sixteen_bit: SixteenBit = "percentile"
    """How 16-bit images become 8-bit."""


class TrainOptions(BaseModel):
    """Options of `irfuse train`; what is not given is as in the method's paper."""

    # Errors that repeat what was given could repeat a secret.
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    method: Autoencoder
    """Whose autoencoder to train."""
    out: str
    """Where the training is kept: a folder or s3://bucket/prefix."""
    images: str | None = None
    """Folder of images of any kind (local path, s3://, gs://): gray crops of them are learned."""
    single_image: str | None = None
    """One image instead, whose middle alone is learned (Res2NetFuse, III-B)."""
    pixel_norm: PixelNorm | None = None
    """Pixel loss: euclidean distance (densefuse), or mean squared error (res2netfuse)."""
    ssim_weight: float | None = Field(default=None, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of the SSIM loss: 100 for densefuse, 1 for res2netfuse."""
    learning_rate: float | None = Field(default=None, gt=0.0, le=1.0)
    """Learning rate of Adam: 0.0001."""
    batch: int | None = Field(default=None, ge=1, le=4096)
    """Crops a step: 2 for densefuse, 4 for res2netfuse, 1 for a single image."""
    epochs: int = Field(default=4, ge=1, le=1_000_000)
    """How often each image is seen."""
    iterations: int | None = Field(default=None, ge=1, le=100_000_000)
    """Steps in place of epochs; 2000 for a single image."""
    crop: int = Field(default=256, ge=SMALLEST_CROP, le=4096)
    """Side of the crops in pixels; smaller images are enlarged."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the first weights, the order of the images and the places of the crops."""
    precision: Precision = "fp32"
    """Of forward and backward passes."""
    convolutions: ResidualConvolutions = "shared"
    """Of Res2NetFuse's residual block; see irfuse methods."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints, from which a training that was killed goes on."""
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image, width times height."""
    address: str | None = None
    """Ray cluster; by default RAY_ADDRESS, or else a Ray of its own on this machine."""
    workers: int = Field(default=1, ge=1)
    """Workers that share each batch evenly, on a CPU or GPU each."""
    device: Device = "auto"
    """Where to compute."""
    start_timeout: float = Field(default=900.0, gt=0)
    """Seconds to wait for the workers to be placed and ready."""
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    """Options for fsspec, such as endpoint_url; credentials come from the usual chain."""
