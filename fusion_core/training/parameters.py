"""Parameters that determine how a training step changes a network."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from fusion_core.choices import (
    SMALLEST_CROP,
    Autoencoder,
    PixelNorm,
    Precision,
    ResidualConvolutions,
    Similarity,
    Trainable,
)

AUTOENCODERS: tuple[Autoencoder, ...] = get_args(Autoencoder)


SMALLEST_ADVERSARIAL_CROP = 43
"""Side of the crops of which one position reaches the last layer of FusionGAN's discriminator."""


class TrainingParameters(BaseModel):
    """Parameters of every training."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sources: ClassVar[int]
    """Images of a sample: 1, or the 2 of a pair."""

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
        raise NotImplementedError


class ReconstructionParameters(TrainingParameters):
    """Parameters of the training of an autoencoder to reconstruct images."""

    sources: ClassVar[int] = 1

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

    @property
    def losses(self) -> dict[str, str]:
        """The losses of a step by their names, `total` first, with titles for curves."""
        norm = "Euclidean distance" if self.pixel_norm == "euclidean" else "mean square"
        term = "1 - SSIM" if self.similarity == "ssim" else "1 - structure of SSIM"
        return {"total": "loss", "pixel": f"pixel loss ({norm})", "ssim": term}


class AdversarialParameters(TrainingParameters):
    """Parameters of the training of a generator that fuses pairs, against a discriminator."""

    sources: ClassVar[int] = 2

    method: Literal["fusiongan"]
    """Method whose network is trained."""
    crop: int = Field(default=132, ge=SMALLEST_ADVERSARIAL_CROP, le=4096)
    """Side of the square crops in pixels; that of the fused ones is smaller by 12."""
    content_weight: float = Field(default=100.0, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight lambda of the content loss beside the adversarial loss (FusionGAN, Eq. 5)."""
    gradient_weight: float = Field(default=5.0, ge=0.0, le=1e9, allow_inf_nan=False)
    """Weight xi of the visible image's gradients in the content loss (FusionGAN, Eq. 7)."""
    discriminator_steps: int = Field(default=2, ge=1, le=100)
    """Steps of the discriminator before each step of the generator."""

    @property
    def losses(self) -> dict[str, str]:
        """The losses of a step by their names, `total` first, with titles for curves."""
        return {
            "total": "loss of the generator",
            "adversarial": "its adversarial loss",
            "content": "its content loss",
            "discriminator": "loss of the discriminator",
        }


AnyTrainingParameters = Annotated[
    ReconstructionParameters | AdversarialParameters, Field(discriminator="method")
]
"""The parameters of some training, told apart by its method."""


def parameters_of(method: Trainable) -> type[ReconstructionParameters | AdversarialParameters]:
    """Return the model of the parameters with which a method's network is trained.

    >>> parameters_of("fusiongan").__name__
    'AdversarialParameters'
    """
    return AdversarialParameters if method == "fusiongan" else ReconstructionParameters


PAPER: dict[Trainable, dict[str, Any]] = {
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
    "fusiongan": {"learning_rate": 1e-4, "batch": 32},
}
"""The values with which the papers train.

DenseFuse is trained with lambda 1, 10, 100 and 1000; 100 gave the published weights that later
papers compare with. DeepFuse, in the form that papers compare with, has no pixel loss. MSDNet is
trained as DenseFuse. The Res2NetFuse paper does not state its learning rate; that of DenseFuse is
used. The other values of FusionGAN are the defaults of its parameters.
"""
