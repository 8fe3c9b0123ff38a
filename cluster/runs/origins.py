"""Where the fused images of a run come from: a fusion method, or files that were made elsewhere.

An origin is part of the run's record. Everything that differs between fusing and scoring stands in
this module; another origin is a further class here, and a further member of `AnyOrigin`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cluster.collections import PairRow
from cluster.storage import redact
from fusion_core.choices import SixteenBit
from fusion_core.images import encode_png

if TYPE_CHECKING:
    from fusion_core.networks import Weights

EightBit = NDArray[np.uint8]
FusedCell = dict[str, bytes | str | None]
"""The row's `fused` column: PNG bytes, or the path of a file."""
Fuser = Callable[[Sequence[EightBit], Sequence[EightBit]], list[EightBit]]
"""Infrared and visible images of one shape to their fused images."""


class Origin(Protocol):
    """Where fused images come from."""

    @property
    def method(self) -> str:
        """What the rows' `method` column says."""

    @property
    def trained(self) -> bool | None:
        """False where weights are random; None where there are none."""

    @property
    def sixteen_bit(self) -> SixteenBit:
        """How 16-bit images become 8-bit."""

    @property
    def reads_fused(self) -> bool:
        """Whether fused images are read with their sources."""

    @property
    def fused_location(self) -> str | None:
        """Folder whose files the manifest names as fused images."""

    def load(self, weights: Weights | None, device: str) -> Fuser | None:
        """Return what fuses pairs on a device; None where nothing is fused."""

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell | None:
        """Return what a row keeps of its fused image."""


class MethodOrigin(BaseModel):
    """A fusion method computes the fused images."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    kind: Literal["method"] = "method"
    method: str
    """Name of the fusion method."""
    parameters: dict[str, Any]
    """All of its parameters."""
    weights: str | None = None
    """Where the weights came from."""
    weights_sha256: str | None = None
    """SHA-256 of the weights."""
    weights_trained: bool | None = None
    """False for random weights; None for a method without weights."""
    keep_images: bool = True
    """Whether the rows hold the fused images."""

    @property
    def trained(self) -> bool | None:
        """False where weights are random; None where there are none."""
        return self.weights_trained

    @property
    def sixteen_bit(self) -> SixteenBit:
        """How 16-bit images become 8-bit."""
        rule: SixteenBit = self.parameters["sixteen_bit"]
        return rule

    @property
    def reads_fused(self) -> bool:
        """Only the sources are read."""
        return False

    @property
    def fused_location(self) -> None:
        """The manifest names no fused images."""
        return None

    def load(self, weights: Weights | None, device: str) -> Fuser:
        """Load the method onto a device.

        Raises:
            IrfuseError: Parameters, weights or device do not work here.
        """
        from fusion_core.methods import build_method, fuse_images, get_method

        parameters = get_method(self.method).parameters.parse(self.parameters)
        fuse_batch = build_method(self.method, parameters, weights, device)
        return lambda ir, vis: fuse_images(fuse_batch, ir, vis, parameters, device)

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell | None:
        """Return the image as PNG, unless images are not kept."""
        return {"bytes": encode_png(fused), "path": None} if self.keep_images else None


class FilesOrigin(BaseModel):
    """The fused images are files that were made elsewhere."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    kind: Literal["files"] = "files"
    method: str
    """What the rows' `method` column says."""
    fused: str | None = None
    """Folder of the files; None if the manifest names them."""
    sixteen_bit: SixteenBit = "percentile"
    """How 16-bit images become 8-bit."""

    @property
    def trained(self) -> None:
        """No weights are known."""
        return None

    @property
    def reads_fused(self) -> bool:
        """The files are read with the sources."""
        return True

    @property
    def fused_location(self) -> str | None:
        """Folder of the files."""
        return self.fused

    def load(self, weights: Weights | None, device: str) -> None:
        """Nothing is fused."""
        return

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell:
        """Return the location of the file."""
        return {"bytes": None, "path": redact(row.fused_uri)}


AnyOrigin = Annotated[MethodOrigin | FilesOrigin, Field(discriminator="kind")]
