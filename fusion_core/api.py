"""Fuse and score one pair of arrays."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusion_core.choices import FURTHER_SOURCES, ScoreColour
from fusion_core.errors import InvalidValueError, WeightsError
from fusion_core.extensions import FoundMethod, choose_metrics, find_method
from fusion_core.files import require_regular_file
from fusion_core.images import Pixels, to_eight_bit
from fusion_core.methods import (
    FuseBatch,
    build_method,
    check_registered,
    check_source_count,
    find_weights,
    fuse_images,
)
from fusion_core.metrics import score_images
from fusion_core.parameters import MethodParameters
from fusion_core.threads import one_thread


def fuse(
    ir: ArrayLike,
    vis: ArrayLike,
    *further: ArrayLike,
    method: str = "densefuse",
    weights: str | Path | None = None,
    device: str = "cpu",
    trust_code: str | None = None,
    **parameters: Any,  # noqa: ANN401
) -> NDArray[np.uint8]:
    """Fuse one registered pair, or more than two sources.

    Args:
        ir: Infrared image `(H, W)` or `(H, W, 3)`, uint8 or uint16.
        vis: Visible image of the same height and width, likewise. Its colour is kept.
        *further: Further sources such as near infrared, likewise, for methods that are defined for
            any number of sources.
        method: Name of a fusion method; `list_methods()` returns those of irfuse. One of your own
            is named by the entry point of an installed package, `MODULE:NAME`, `FILE.py:NAME`, or
            the path of a model file (.onnx, .pt2, .pt).
        weights: Path of a weight file, the name of torchvision's weights such as `IMAGENET1K_V2`
            (for methods on ImageNet networks), or `random:SEED` for untrained weights. By default,
            autoencoders use the weights that irfuse includes, and methods on ImageNet networks use
            `IMAGENET1K_V1`, which is downloaded once. Some methods have no weights.
        device: Torch device, such as `cpu` or `cuda`.
        trust_code: First digits of the SHA-256 of a model file that executes code when it is loaded
            (.pt2, .pt).
        **parameters: Parameters of the method, such as `strategy="l1_norm"` or `colour="gray"`.

    Returns:
        The fused image, uint8: `(H, W)`, or `(H, W, 3)` if colour is kept.

    Raises:
        InvalidValueError: The method or a parameter is unknown, or an array is not an image.
        PairMismatchError: The sources differ in size.
        WeightsError: The weights are missing, damaged or of another network, or were given for a
            method without weights.

    >>> from fusion_core.images.synthetic import synthetic_pair
    >>> ir, vis = synthetic_pair(24, 32, seed=0)
    >>> fuse(ir, vis, method="densefuse", strategy="l1_norm").shape
    (24, 32, 3)
    >>> fuse(ir, vis, ir // 2, method="densefuse", strategy="mean").shape
    (24, 32, 3)
    >>> fuse(ir, vis, method="resnet152", weights="random:0", colour="gray").shape
    (24, 32)
    """
    found = find_method(method, trust_code)
    parsed = found.spec.parameters.parse(parameters)
    fuse_batch = _cached_method(found, parsed, _identify(weights), device)
    named = {"ir": ir, "vis": vis, **dict(zip(FURTHER_SOURCES, further, strict=False))}
    check_source_count(method, found.spec, 2 + len(further))
    images = {name: _as_image(image, name) for name, image in named.items()}
    first, second = images.pop("ir"), images.pop("vis")
    check_registered(first, second, images)
    sources = [
        to_eight_bit(image, parsed.sixteen_bit) for image in (first, second, *images.values())
    ]
    return fuse_images(
        fuse_batch, sources[:1], sources[1:2], parsed, device, found.spec.channels, [sources[2:]]
    )[0]


def score(
    ir: ArrayLike,
    vis: ArrayLike,
    fused: ArrayLike,
    *,
    metrics: Sequence[str] | None = None,
    score_colour: ScoreColour = "luma",
    reference: ArrayLike | None = None,
    device: str = "cpu",
) -> dict[str, float | None]:
    """Score one fused image against its sources.

    Args:
        ir: Infrared image `(H, W)` or `(H, W, 3)`, uint8 or uint16 (converted to 8 bits by its
            1st and 99th percentiles).
        vis: Visible image, likewise.
        fused: Fused image, likewise.
        metrics: Names of the metrics to compute and of presets such as `vifb`; the preset `default`
            by default. One of your own is named by the entry point of an installed package,
            `MODULE:NAME` or `FILE.py:NAME`.
        score_colour: What metrics of colour images are computed of: `luma`, `per_channel` for the
            mean over the channels, or `as_toolkit` for what the program of each preset does.
        reference: What the fused image should be, likewise, if that is known. It is compared with
            the fused image in addition: `SSIM_ref`, `PSNR_ref`, `MSE_ref` and `VIF_ref`.
        device: Torch device.

    Returns:
        Metric name to value; None where the metric is undefined for these images.

    Raises:
        InvalidValueError: A metric is unknown, or an array is not an image.
        PairMismatchError: The images differ in size.

    >>> import numpy as np
    >>> ir = np.zeros((4, 4), np.uint8)
    >>> vis = np.full((4, 4), 200, np.uint8)
    >>> score(ir, vis, np.tile(np.uint8([10, 20]), (4, 2)), metrics=["EN"])
    {'EN': 1.0}
    """
    known = reference is not None
    chosen = choose_metrics(metrics, score_colour, reference=known)
    given = {"ir": ir, "vis": vis, "fused": fused}
    if reference is not None:
        given["reference"] = reference
    images = {name: _as_image(image, name) for name, image in given.items()}
    check_registered(images["ir"], images["vis"], images)
    groups = {name: [to_eight_bit(image)] for name, image in images.items()}
    first, second, third = (groups[name] for name in ("ir", "vis", "fused"))
    ideal = groups.get("reference")
    with one_thread():
        scores = score_images(first, second, third, chosen.names, device, chosen.channels, ideal)
    return scores[0].values


@dataclass(frozen=True, slots=True)
class _WeightsFile:
    """Identity of a weight file, which changes when the file is overwritten."""

    source: str
    modified_ns: int = 0
    size: int = 0


@functools.lru_cache(maxsize=4)
def _cached_method(
    method: FoundMethod, parameters: MethodParameters, weights: _WeightsFile | None, device: str
) -> FuseBatch:
    source = None if weights is None else weights.source
    found = find_weights(method.spec, parameters, source, _read)
    return build_method(method.spec, parameters, found, device)


def _read(source: str) -> bytes:
    try:
        require_regular_file(source)
        return Path(source).read_bytes()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights {source}: {error.strerror}") from None
    except ValueError as error:
        raise WeightsError(f"Cannot read the weights {source!r}: {error}") from None


def _identify(weights: str | Path | None) -> _WeightsFile | None:
    if weights is None:
        return None
    source = str(weights)
    try:
        found = Path(source).stat()
    except (OSError, ValueError):
        return _WeightsFile(source)  # a name, or an unreadable path, which fails later
    return _WeightsFile(source, found.st_mtime_ns, found.st_size)


def _as_image(array: ArrayLike, name: str) -> Pixels:
    image = np.asarray(array)
    if image.dtype not in (np.uint8, np.uint16):
        raise InvalidValueError(f"Expected {name} of uint8 or uint16, but got {image.dtype}")
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise InvalidValueError(
            f"Expected {name} of shape (H, W) or (H, W, 3), but got {image.shape}"
        )
    return image
