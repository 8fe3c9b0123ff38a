"""Options of training and reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from fusion_core.choices import (
    DEFAULT_MAX_PIXELS,
    LARGEST_MAX_PIXELS,
    SMALLEST_CROP,
    Autoencoder,
    Device,
    Fit,
    PixelNorm,
    Precision,
    ResidualConvolutions,
    Similarity,
    Trainable,
)
from jobs.options.common import RAY, Json, KeyValues, LocationOptions, RayOptions


class TrainOptions(RayOptions):
    """Train the network of METHOD: autoencoders on images, fusiongan on pairs.

    Writes METHOD.safetensors for --weights, a card with its metadata, and the learning curves. Run
    the same command again to resume from the last checkpoint after any interruption. The defaults
    are those of the method's paper.
    """

    method: Trainable
    """Method whose network is trained."""
    out: Annotated[str, Parameter(name=("--out", "-o"))]
    """Output location of the training: a folder or s3://bucket/prefix."""
    images: str | None = None
    """Folder of training images (local path, s3://, gs://), from which gray crops are taken."""
    single_image: str | None = None
    """Single training image instead of a folder, of which only the center is used (Res2NetFuse,
    section III-B)."""
    pairs: str | None = None
    """Folder of pairs or manifest from which fusiongan learns, as SOURCE of `irfuse run`."""
    pixel_norm: PixelNorm | None = None
    """Pixel loss: Euclidean distance (default of densefuse and msdnet), or mean squared error
    (default of res2netfuse)."""
    pixel_weight: float | None = Field(default=None, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight of the pixel loss; 1 by default, 0 for deepfuse."""
    similarity: Similarity | None = None
    """Similarity of the SSIM loss: SSIM, or its structure term alone, as in the released code of
    DenseFuse and by default for deepfuse."""
    ssim_weight: float | None = Field(default=None, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of the SSIM loss; 100 by default for densefuse, 1000 for msdnet, 1 for
    res2netfuse and deepfuse."""
    learning_rate: float | None = Field(default=None, gt=0.0, le=1.0)
    """Learning rate of Adam; 0.0001 by default."""
    batch: int | None = Field(default=None, ge=1, le=4096)
    """Crops per step; 2 by default, 4 for res2netfuse, 32 for fusiongan, 1 for a single image."""
    epochs: int | None = Field(default=None, ge=1, le=1_000_000)
    """Number of epochs, in each of which every image is used once; 4 by default."""
    iterations: int | None = Field(default=None, ge=1, le=100_000_000)
    """Number of steps, instead of epochs; 2000 by default for a single image, 20000 for
    fusiongan."""
    validation: int = Field(default=0, ge=0)
    """Number of images or pairs that are held out, drawn by --seed. Their losses are computed at
    each checkpoint, and shown with the learning curves."""
    fit: Fit = "crop"
    """Take random crops of the images, or resize each to a square whatever its proportions, as the
    released code of DenseFuse does."""
    crop: int | None = Field(default=None, ge=SMALLEST_CROP, le=4096)
    """Side of the crops in pixels; smaller images are enlarged; 256 by default, 132 for
    fusiongan."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the initial weights, the order of the images and the positions of the crops."""
    precision: Precision = "fp32"
    """Precision of the forward and backward passes."""
    convolutions: ResidualConvolutions | None = None
    """Convolutions of the residual block of Res2NetFuse, shared by default; `irfuse methods
    res2netfuse` describes them."""
    content_weight: float | None = Field(default=None, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of fusiongan's content loss beside its adversarial loss; 100 by default."""
    gradient_weight: float | None = Field(default=None, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight xi of the visible image's gradients in fusiongan's content loss; 5 by default."""
    discriminator_steps: int | None = Field(default=None, ge=1, le=100)
    """Steps of fusiongan's discriminator before each step of its generator; 2 by default."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints, from which an interrupted training resumes."""
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image in pixels, width times height."""
    workers: Annotated[int, Parameter(group=RAY)] = Field(default=1, ge=1)
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
