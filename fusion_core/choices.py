"""Closed choices and limits that options and code share.

This module imports nothing but the standard library, so that options and help texts can use it
without waiting for torch or NumPy.
"""

from __future__ import annotations

from typing import Literal

Colour = Literal["luma", "gray", "per_channel"]
"""What becomes of a colour visible image."""
OutputRange = Literal["clip", "minmax"]
"""How a method's output is brought to 0..255."""
SixteenBit = Literal["percentile", "full"]
"""How 16-bit images are brought to 8 bits."""
Precision = Literal["fp32", "bf16"]
"""Floating-point format of a network."""
Device = Literal["auto", "cpu", "cuda"]
"""Where to compute; `auto` takes GPUs if there are any."""
Autoencoder = Literal["densefuse", "res2netfuse"]
"""Methods with an autoencoder that irfuse can train."""
PixelNorm = Literal["euclidean", "mse"]
"""Pixel loss of a training."""
ResidualConvolutions = Literal["shared", "separate"]
"""Whether the Res2Net block of Res2NetFuse has one 3x3 convolution or six."""

DEFAULT_MAX_PIXELS = 64 * 1024 * 1024
"""Largest image, width times height, that is decoded by default."""
LARGEST_MAX_PIXELS = 178_956_970
"""Pillow refuses to open anything larger."""
SMALLEST_CROP = 11
"""Side in pixels of the SSIM window of the training loss, which must lie inside each crop."""
