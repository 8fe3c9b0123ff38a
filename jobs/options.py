"""Options of the jobs: one frozen model each, for the command line, `run.json` and Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_PIXELS = 64 * 1024 * 1024
LARGEST_MAX_PIXELS = 178_956_970
"""Pillow refuses to open anything larger."""

Layout = Literal["auto", "folders", "prefix", "suffix", "infix", "four_channel"]


class JobOptions(BaseModel):
    """Options that fusing and scoring share."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image, width times height."""
    retry_failed: bool = False
    """Compute the failed rows of finished shards again."""
    address: str | None = None
    """Ray cluster; by default RAY_ADDRESS, or else a Ray of its own on this machine."""
    workers: int | None = Field(default=None, ge=1)
    """Number of workers; by default one a GPU, or one a CPU where there is none."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
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
    IMAGENET1K_V1 by default), or random:SEED for untrained weights."""
    keep_images: bool = True
    """Keep the fused images in the shards; without them only the scores are kept."""


class ScoreOptions(JobOptions):
    """Options of `irfuse score`."""

    fused: str
    """Folder with the fused images, matched to the pairs by pair_id or file stem."""
    name: str = Field(min_length=1)
    """What the rows' method column says."""
    sixteen_bit: Literal["percentile", "full"] = "percentile"
    """How 16-bit images become 8-bit."""
