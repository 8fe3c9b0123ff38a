"""Choices and limits that the options and the implementation share.

This module imports only the standard library, so that options and help texts can use it without
importing torch or NumPy.
"""

from __future__ import annotations

from typing import Literal

Colour = Literal["luma", "gray", "per_channel"]
"""Treatment of a colour visible image."""
OutputRange = Literal["clip", "minmax"]
"""Conversion of a method's output to 0..255."""
SixteenBit = Literal["percentile", "full"]
"""Conversion of 16-bit images to 8 bits."""
ScoreColour = Literal["luma", "per_channel", "as_toolkit"]
"""Treatment of colour images when they are scored."""
Channels = Literal["luma", "per_channel", "side_by_side", "rgb"]
"""What a metric of a colour image is computed of."""
Resize = Literal["off", "smaller", "visible"]
"""Size to which sources of different sizes are brought."""
Precision = Literal["fp32", "bf16"]
"""Floating-point format of a network."""
Convolution = Literal["winograd", "direct"]
"""Algorithm of 3x3 convolutions on a CPU."""
Device = Literal["auto", "cpu", "cuda"]
"""Device to compute on; `auto` uses GPUs if there are any."""
Autoencoder = Literal["densefuse", "res2netfuse", "deepfuse", "msdnet"]
"""Methods with an autoencoder that irfuse can train."""
Trainable = Literal[Autoencoder, "fusiongan"]
"""Methods whose network irfuse can train."""
PixelNorm = Literal["euclidean", "mse"]
"""Pixel loss of a training."""
Similarity = Literal["ssim", "structure"]
"""Similarity term of the loss of a training."""
Fit = Literal["crop", "resize"]
"""How training images are brought to the size of the samples."""
ResidualConvolutions = Literal["shared", "separate"]
"""Whether the Res2Net block of Res2NetFuse has one 3x3 convolution or six."""
Norm = Literal["l1", "l2", "nuclear"]
"""Norm of the features in the block around each pixel."""

FURTHER_SOURCES = ("third", "fourth", "fifth", "sixth", "seventh", "eighth")
"""Names of the sources after the infrared and the visible image."""

DEFAULT_MAX_PIXELS = 64 * 1024 * 1024
"""Largest image, width times height, that is decoded by default."""
LARGEST_MAX_PIXELS = 178_956_970
"""Largest image that Pillow opens."""
SMALLEST_CROP = 11
"""Side in pixels of the SSIM window of the training loss, which must lie inside each crop."""

_BYTES_PER_PIXEL, _OTHER_BYTES = 8, 64 * 1024 * 1024


def largest_file(max_pixels: int) -> int:
    """Return the largest accepted size in bytes of the file of an image of so many pixels.

    Four channels of 16 bits need 8 bytes per pixel without compression; small images may have more
    channels and metadata.
    """
    return _BYTES_PER_PIXEL * max_pixels + _OTHER_BYTES
