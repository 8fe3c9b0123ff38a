"""The description of a metric, which does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion_core.papers import Paper

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_core.metrics.base import Image, ScoredBatch


@dataclass(frozen=True)
class Metric:
    """A quality metric of fused images, with all that a reader of its column must know.

    A metric is called with the images A, B and F; see `fusion_core.metrics.base.evaluate`.
    """

    name: str
    """Name of the column."""
    title: str
    """Meaning in a few words."""
    score_batch: Callable[[ScoredBatch], Tensor]
    """Computes `(B,)` float64, NaN where the metric is undefined."""
    higher_is_better: bool | None
    """Whether a better fused image has a higher value; None if neither direction is better."""
    range: str
    """Range of the values, such as `0..1`."""
    unit: str
    """Unit of the values; `1` if they have none."""
    paper: Paper | None
    """The publication that defines the metric; None if there is none."""
    undefined: str = ""
    """When the definition gives no value; the reason in rows where the value is null."""
    decimals: int = 4
    """Digits after the decimal point in tables."""
    dialect_of: str = ""
    """Name of the metric that some programs compute differently, as this one does, under the same
    name; empty for a metric of its own. Dialects serve only to compare with published tables."""
    alias_of: str = ""
    """Name of the metric that has the same values, or the same order of values; empty if there is
    none."""
    programs: str = ""
    """The programs that print a dialect."""
    library: str = ""
    """The library that computes the metric; empty if irfuse does."""
    needs_reference: bool = False
    """Whether the fused image is compared with a reference image instead of its sources."""

    @property
    def is_plain(self) -> bool:
        """Whether this is a metric of its own, of a fused image and its sources."""
        return not (self.dialect_of or self.library or self.needs_reference)

    def __call__(self, ir: Image, vis: Image, fused: Image) -> Tensor:
        """Compute the metric; see `evaluate`."""
        from fusion_core.metrics.base import evaluate

        return evaluate(self.score_batch, ir, vis, fused)
