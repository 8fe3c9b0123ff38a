"""Which metric has a published value for three images?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from cluster.storage import Reader
from fusion_core.choices import DEFAULT_MAX_PIXELS, Channels
from fusion_core.errors import InvalidValueError, IrfuseError
from fusion_core.images import Pixels, decode_image, to_eight_bit
from fusion_core.methods import check_registered
from fusion_core.metrics import METRICS, metrics_printed_as, score_images, select_channels

_KINDS = ("infrared", "visible", "fused")
_MOST_PLACES = 300
"""Decimal places of a published value."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of a metric, and whether it is the published one."""

    metric: str
    channels: Channels
    """What it is computed of."""
    value: float | None
    """None where the metric is undefined."""
    matches: bool
    """Whether the value is the published one, rounded as that is."""


@dataclass(frozen=True, slots=True)
class Identification:
    """A published value, and what the metrics that may be meant give."""

    name: str
    printed: str
    readings: list[Reading]
    """Of the metrics that are printed under the name; those of others only if they alone match."""


def identify_value(published: str, images: Sequence[str]) -> Identification:
    """Find the metrics that have a published value.

    Args:
        published: The value as NAME=VALUE, with the digits that were printed.
        images: Locations of the infrared, the visible and the fused image.

    Raises:
        InvalidValueError: The value is not a number with a name, or there are not three images.
        IrfuseError: An image cannot be read, or the images differ in size.
    """
    name, equals, printed = published.partition("=")
    if not (name and equals):
        raise InvalidValueError(f"Expected NAME=VALUE, such as PSNR=67.85, but got {published!r}")
    if len(images) != len(_KINDS):
        raise InvalidValueError(
            "Expected the infrared, the visible and the fused image that the value belongs to, but "
            f"got {len(images)} images"
        )
    value, slack = _parse(printed)
    pixels = [_read(kind, location) for kind, location in zip(_KINDS, images, strict=True)]
    ir, vis, fused = pixels
    check_registered(ir, vis, {"fused": fused})
    names = metrics_printed_as(name)
    readings = _compute(pixels, value, slack)
    of_name = [reading for reading in readings if reading.metric in names]
    if any(reading.matches for reading in of_name):
        return Identification(name, printed, of_name)
    others = [reading for reading in readings if reading.matches and reading.metric not in names]
    return Identification(name, printed, of_name + others)


def _parse(printed: str) -> tuple[float, float]:
    """Return a printed number, and half a unit of its last digit."""
    try:
        number = Decimal(printed)
    except InvalidOperation:
        number = Decimal("NaN")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _MOST_PLACES:
        raise InvalidValueError(f"Expected a number as the published value, but got {printed!r}")
    return float(number), 0.5001 * 10.0**exponent


def _read(kind: str, location: str) -> Pixels:
    try:
        image = decode_image(Reader({}).read(location), max_pixels=DEFAULT_MAX_PIXELS)
    except IrfuseError as error:
        raise type(error)(f"{kind} image: {error}") from None
    return to_eight_bit(image)


def _compute(pixels: Sequence[Pixels], value: float, slack: float) -> list[Reading]:
    """Compute all metrics, of the luma and, for colour images, of the channels."""
    ir, vis, fused = pixels
    names = [name for name, metric in METRICS.items() if not metric.needs_reference]
    ways: list[dict[str, Channels]] = [{}]
    if any(image.ndim == 3 for image in pixels):
        per_channel = select_channels(names, "per_channel")
        ways.append(per_channel | select_channels(["vifb"], "as_toolkit"))
    readings = []
    for channels in ways:
        (scores,) = score_images([ir], [vis], [fused], names, channels=channels)
        for name, found in scores.values.items():
            matches = found is not None and abs(found - value) <= slack
            readings.append(Reading(name, channels.get(name, "luma"), found, matches))
    return readings
