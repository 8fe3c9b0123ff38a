"""Parameters that determine how a training step changes an autoencoder."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field

from fusion_core.choices import (
    SMALLEST_CROP,
    Autoencoder,
    PixelNorm,
    Precision,
    ResidualConvolutions,
    Similarity,
)

AUTOENCODERS: tuple[Autoencoder, ...] = get_args(Autoencoder)


class TrainingParameters(BaseModel):
    """Parameters that determine how a step changes the network."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    method: Autoencoder
    """Method whose network is trained."""
    convolutions: ResidualConvolutions = "shared"
    """Convolutions of the Res2Net block of Res2NetFuse; see the method."""
    pixel_norm: PixelNorm
    """Pixel loss: `euclidean` distance of output and image, averaged over the batch (DenseFuse,
    Eq. 2), or mean squared error (`mse`, Res2NetFuse, Eq. 3); of images in 0..255."""
    pixel_weight: float = Field(default=1.0, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight of the pixel loss."""
    similarity: Similarity = "ssim"
    """Similarity of the SSIM loss: `ssim`, or `structure`, SSIM without its luminance term and with
    a constant that hardly limits the contrast, as in the released code of DenseFuse."""
    ssim_weight: float = Field(ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of the loss 1 - SSIM (DenseFuse, Eq. 1)."""
    learning_rate: float = Field(gt=0.0, le=1.0)
    """Learning rate of Adam."""
    batch: int = Field(ge=1, le=4096)
    """Crops per step, over all workers."""
    crop: int = Field(default=256, ge=SMALLEST_CROP, le=4096)
    """Side of the square crops in pixels."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the initial weights, the order of the images and the positions of the crops."""
    precision: Precision = "fp32"
    """Precision of the forward and backward passes; loss and weights are always float32."""

    @property
    def losses(self) -> dict[str, str]:
        """The losses of a step by their names, `total` first, with titles for curves."""
        norm = "Euclidean distance" if self.pixel_norm == "euclidean" else "mean square"
        term = "1 - SSIM" if self.similarity == "ssim" else "1 - structure of SSIM"
        return {"total": "loss", "pixel": f"pixel loss ({norm})", "ssim": term}


PAPER: dict[Autoencoder, dict[str, Any]] = {
    "densefuse": {
        "pixel_norm": "euclidean",
        "ssim_weight": 100.0,
        "learning_rate": 1e-4,
        "batch": 2,
    },
    "deepfuse": {
        "pixel_norm": "mse",
        "pixel_weight": 0.0,
        "similarity": "structure",
        "ssim_weight": 1.0,
        "learning_rate": 1e-4,
        "batch": 2,
    },
    "msdnet": {
        "pixel_norm": "euclidean",
        "ssim_weight": 1000.0,
        "learning_rate": 1e-4,
        "batch": 2,
    },
    "res2netfuse": {"pixel_norm": "mse", "ssim_weight": 1.0, "learning_rate": 1e-4, "batch": 4},
}
"""The values with which the papers train.

DenseFuse is trained with lambda 1, 10, 100 and 1000; 100 gave the published weights that later
papers compare with. DeepFuse, in the form that papers compare with, has no pixel loss. MSDNet is
trained as DenseFuse. The Res2NetFuse paper does not state its learning rate; that of DenseFuse is
used.
"""
