"""The batch of images that the metrics of one call share, and the evaluation of one metric."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Self, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_core.errors import InvalidValueError

T = TypeVar("T")

Image: TypeAlias = NDArray[np.uint8] | Tensor
"""Gray levels, uint8: one image as `(H, W)`, or a batch as `(B, 1, H, W)`."""


class GrayImages:
    """Images of one size, with what has been computed of them so far.

    Metrics that need the same intermediate result, such as a histogram, request it through
    `cached`, so that it is computed once however many of them are scored.

    Args:
        gray: Gray levels: `(…, H, W)` uint8.
    """

    def __init__(self, gray: Tensor) -> None:
        self.gray = gray
        """Gray levels: `(…, H, W)` uint8."""
        self._cache: dict[Hashable, Any] = {}

    def cached(self, compute: Callable[[Self], T]) -> T:
        """Return `compute(self)`, which is computed at the first request only.

        Others may request the result again, so it must not be written to.
        """
        if compute not in self._cache:
            self._cache[compute] = compute(self)
        return cast("T", self._cache[compute])

    @property
    def unit(self) -> Tensor:
        """The images on the unit range 0..1: `(…, H, W)` float64."""
        return self.cached(_to_unit)

    @property
    def levels(self) -> Tensor:
        """The images on 0..255: `(…, H, W)` float64."""
        return self.cached(_to_levels)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.gray.shape[-2]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.gray.shape[-1]


class Sources(GrayImages):
    """The sources of pairs, with what metrics have computed of them alone.

    Several fused images of the same pairs, such as those of the methods of a study, are scored
    faster with one object than with one for each: histograms, the features of FMI, phase congruency
    and contrasts of the sources are then computed once. What is kept takes some 200 bytes per pixel
    of a pair if all metrics are scored, and is freed with the object.

    Args:
        ir: Infrared images A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible images B, likewise.

    Raises:
        InvalidValueError: The images are not uint8, differ in shape or are empty.

    >>> from fusion_core.images.synthetic import synthetic_pair
    >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
    >>> sources = Sources(ir, vis)
    >>> from fusion_core.metrics.scoring import score_batch
    >>> for fused in (ir, vis):
    ...     print(score_batch(ScoredBatch(sources, fused), ["EN"]).item() > 5.0)
    True
    True
    """

    def __init__(self, ir: Image, vis: Image) -> None:
        images = {"ir": _to_tensor(ir), "vis": _to_tensor(vis)}
        _check_images(images)
        self.shape = images["ir"].shape
        """`(H, W)` or `(B, 1, H, W)`, as the images were given."""
        super().__init__(torch.stack([_as_stack(image) for image in images.values()]))


class ScoredBatch(GrayImages):
    """Fused images and their sources, with the intermediate results computed so far.

    Args:
        sources: The sources: of as many pairs as there are fused images, or of one pair, which all
            fused images then share.
        fused: Fused images F, `(H, W)` or `(B, 1, H, W)` uint8.
        reference: What the fused images should be, likewise, if that is known.
        channels: Number of images in a row that are the channels of one, 1 or 3.

    Raises:
        InvalidValueError: The images are not uint8, are empty, or differ in size or in number.
    """

    def __init__(
        self,
        sources: Sources,
        fused: Image,
        reference: Image | None = None,
        *,
        channels: int = 1,
    ) -> None:
        self.channels = channels
        image = _to_tensor(fused)
        _check_image("fused", image)
        stack = _as_stack(image)
        _check_against(sources, image)
        self.sources = sources
        """A and B: `(2, B, H, W)`, or `(2, 1, H, W)` if all fused images share one pair."""
        self.fused = GrayImages(stack)
        """F: `(B, H, W)`."""
        super().__init__(torch.cat((sources.gray.expand(2, *stack.shape), stack.unsqueeze(0))))
        self.against_reference: ScoredBatch | None = None
        """The batch with the reference in place of both sources; None if there is no reference."""
        if reference is not None:
            self.against_reference = ScoredBatch(Sources(reference, reference), fused)

    def undefined(self) -> Tensor:
        """Return NaN for each pair: the value of a metric that is undefined at this size."""
        return torch.full(
            (self.gray.shape[1],), torch.nan, dtype=torch.float64, device=self.gray.device
        )


def evaluate(
    score_batch: Callable[[ScoredBatch], Tensor], ir: Image, vis: Image, fused: Image
) -> Tensor:
    """Compute one metric of one image or of a batch.

    Args:
        score_batch: What computes the metric of a batch.
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        float64 on the images' device, NaN where the metric is undefined: a scalar tensor for
        `(H, W)` images, `(B,)` for a batch.

    Raises:
        InvalidValueError: The images are not uint8, differ in shape or are empty.
    """
    values = score_batch(ScoredBatch(Sources(ir, vis), fused))
    return values[0] if fused.ndim == 2 else values


def _to_tensor(image: Image) -> Tensor:
    if isinstance(image, Tensor):
        return image
    return torch.from_numpy(np.array(image))  # a copy: the array may be read-only


def _as_stack(image: Tensor) -> Tensor:
    """Return one image or a batch as `(B, H, W)`."""
    return image.reshape(-1, *image.shape[-2:]).contiguous()


def _check_images(images: Mapping[str, Tensor]) -> None:
    """Check images, by their names, which must have one shape."""
    for name, image in images.items():
        _check_image(name, image)
    shapes = [tuple(image.shape) for image in images.values()]
    if len(set(shapes)) != 1:
        names, found = " and ".join(images), " and ".join(map(str, shapes))
        raise InvalidValueError(f"Expected {names} of one shape, but got {found}")


def _check_image(name: str, image: Tensor) -> None:
    if image.dtype != torch.uint8:
        raise InvalidValueError(f"Expected {name} of dtype uint8, but got {image.dtype}")
    if image.ndim != 2 and (image.ndim != 4 or image.shape[1] != 1):
        raise InvalidValueError(
            f"Expected {name} of shape (H, W) or (B, 1, H, W), but got {tuple(image.shape)}"
        )
    if image.numel() == 0:
        raise InvalidValueError(
            f"Expected at least one pair of at least one pixel, but got shape {tuple(image.shape)}"
        )


def _check_against(sources: Sources, fused: Tensor) -> None:
    """Check that fused images have the size of their sources, and are as many or share one pair."""
    one_pair = sources.gray.shape[1] == 1 and fused.shape[-2:] == sources.gray.shape[-2:]
    if fused.shape != sources.shape and not one_pair:
        raise InvalidValueError(
            "Expected ir, vis and fused of one shape, but got "
            f"{tuple(sources.shape)}, {tuple(sources.shape)} and {tuple(fused.shape)}"
        )


def _to_unit(images: GrayImages) -> Tensor:
    return to_unit_range(images.gray)


def _to_levels(images: GrayImages) -> Tensor:
    return images.gray.to(torch.float64)


def to_unit_range(gray: Tensor) -> Tensor:
    """Divide gray levels by 255, correctly rounded: float64 in 0..1.

    CUDA multiplies by the reciprocal of a Python number, which is off by an ulp for some levels and
    undoes the ties that edge metrics depend on; it divides by a tensor.
    """
    white = torch.full((), 255.0, dtype=torch.float64, device=gray.device)
    return gray.to(torch.float64).div_(white)
