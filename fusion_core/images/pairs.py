"""The two sources of a pair, decoded from one file or two."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_core.choices import DEFAULT_MAX_PIXELS
from fusion_core.errors import InvalidValueError, IrfuseError
from fusion_core.images.decoding import decode_four_channel, decode_image
from fusion_core.images.limits import Pixels


@dataclass(frozen=True, slots=True)
class Bands:
    """The bands of files with many bands that are the sources of a pair."""

    ir: str | None = None
    """Number or name of the band of the infrared image; None for files without further bands."""
    vis: str | None = None
    """The same of the visible image, or three of them, separated by commas."""


ALL_BANDS = Bands()


def decode_pair(
    ir: bytes,
    vis: bytes | None,
    bands: Bands = ALL_BANDS,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> tuple[Pixels, Pixels]:
    """Decode the sources of a pair.

    Args:
        ir: The whole file of the infrared image.
        vis: The whole file of the visible image; None if one file holds both, in the bands that are
            selected or as a visible image with infrared as its fourth channel.
        bands: Bands to select.
        max_pixels: Largest accepted width x height.

    Returns:
        Infrared and visible image, each `(H, W)` or `(H, W, 3)`.

    Raises:
        ImageDecodeError: As `decode_image`; the message names the image.
        InvalidValueError: Of one file, bands are selected for one image alone.
    """
    if vis is None and bands == ALL_BANDS:
        return decode_four_channel(ir, max_pixels=max_pixels)
    if vis is None and (bands.ir is None or bands.vis is None):
        raise InvalidValueError(
            "One file holds both images of the pair: select the bands of both, or of neither"
        )
    return (
        decode_named("infrared", ir, bands.ir, max_pixels=max_pixels),
        decode_named("visible", ir if vis is None else vis, bands.vis, max_pixels=max_pixels),
    )


def decode_named(
    name: str,
    data: bytes,
    bands: str | None = None,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Pixels:
    """Decode an image of a pair like `decode_image`, with errors that name it."""
    try:
        return decode_image(data, bands=bands, max_pixels=max_pixels)
    except IrfuseError as error:
        raise type(error)(f"{name} image: {error}") from None
