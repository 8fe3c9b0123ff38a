"""What decides how a training step changes an autoencoder."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from fusion_core.methods.res2netfuse import Residual
from fusion_core.metrics.structural.windows import WINDOW
from fusion_core.parameters import Precision

Autoencoder = Literal["densefuse", "res2netfuse"]
PixelNorm = Literal["euclidean", "mse"]
AUTOENCODERS: tuple[Autoencoder, ...] = get_args(Autoencoder)


class TrainingParameters(BaseModel):
    """What decides how a step changes the network."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    method: Autoencoder
    """Whose network."""
    convolutions: Residual = "shared"
    """Of Res2NetFuse's residual block; see the method."""
    pixel_norm: PixelNorm
    """Pixel loss: `euclidean` distance of output and image, averaged over the batch (DenseFuse,
    Eq. 2), or mean squared error (`mse`, Res2NetFuse, Eq. 3); of images in 0..255."""
    ssim_weight: float = Field(ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of the loss 1 - SSIM (DenseFuse, Eq. 1)."""
    learning_rate: float = Field(gt=0.0, le=1.0)
    """Of Adam."""
    batch: int = Field(ge=1, le=4096)
    """Crops a step, all workers together."""
    crop: int = Field(default=256, ge=WINDOW, le=4096)
    """Side of the square crops."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the initial weights, the order of the images and the places of the crops."""
    precision: Precision = "fp32"
    """Of forward and backward passes; loss and weights are float32 in any case."""


PAPER: dict[Autoencoder, dict[str, Any]] = {
    "densefuse": {
        "pixel_norm": "euclidean",
        "ssim_weight": 100.0,
        "learning_rate": 1e-4,
        "batch": 2,
    },
    "res2netfuse": {"pixel_norm": "mse", "ssim_weight": 1.0, "learning_rate": 1e-4, "batch": 4},
}
"""What the papers train with.

DenseFuse is trained with lambda 1, 10, 100 and 1000; 100 gave the published weights that later
papers compare with. Res2NetFuse does not tell its learning rate: it is that of DenseFuse.
"""
