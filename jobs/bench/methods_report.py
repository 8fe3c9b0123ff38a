"""The report of `irfuse bench methods`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field

from fusion_core.choices import Precision
from jobs.bench.matrix_product import MatrixRate
from jobs.bench.measuring import Report


class MethodTiming(BaseModel):
    """Time of one method, and of its network alone."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    method: str
    """Name of the method."""
    parameters: dict[str, Any]
    """Parameters that differ from the defaults or were given."""
    precision: Precision | None
    """Precision of the network; None for a method without one."""
    width: int
    """Width in pixels of the measured images or part of them."""
    height: int
    """Height in pixels of the measured images or part of them."""
    ms_per_megapixel: float
    """Median over the repeats after warm-up, in milliseconds per megapixel of one source."""
    fastest: float
    """Milliseconds per megapixel of the fastest repeat."""
    slowest: float
    """Milliseconds per megapixel of the slowest repeat."""
    backbone_ms_per_megapixel: float | None
    """Median for the forward pass of the ImageNet network alone; None for other methods."""
    gigaflops: float | None
    """Floating-point operations of the network's convolutions per second of the method's time."""
    pairs_per_second: float
    """Pairs of full images per second, from the median."""
    matrix_product: MatrixRate | None
    """Rate of a large matrix product in the same precision, measured in the same run."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def around_backbone(self) -> float | None:
        """Time spent outside the backbone, as a multiple of the backbone's own."""
        if self.backbone_ms_per_megapixel is None:
            return None
        return self.ms_per_megapixel / self.backbone_ms_per_megapixel - 1.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def matmul_share(self) -> float | None:
        """Rate of the convolutions as a share of that of the matrix product."""
        if self.gigaflops is None or self.matrix_product is None:
            return None
        return self.gigaflops / self.matrix_product.gigaflops


class MethodsReport(Report):
    """Result of `irfuse bench methods`."""

    width: int
    """Width of the images in pixels."""
    height: int
    """Height of the images in pixels."""
    batch: int
    """Number of pairs per batch."""
    repeats: int
    """Number of timed repeats after warm-up."""
    timings: list[MethodTiming]
    """Timings of each method in each precision."""
    peak_memory_mb: float
    """Peak memory over all methods in megabytes."""
