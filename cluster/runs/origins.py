"""Origins of the fused images of a run: a fusion method, or existing files.

An origin is part of the run's record, and contains everything that differs between fusing and
scoring on a worker. To add an origin, add a class here and a member of `AnyOrigin`; its job decides
what the manifest must contain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cluster.collections import PairRow
from cluster.storage import redact
from fusion_core.choices import SixteenBit
from fusion_core.extensions import CodeOrigin
from fusion_core.images import encode_png

if TYPE_CHECKING:
    from torch import Tensor

    from cluster.runs.payload import Payload

EightBit = NDArray[np.uint8]
FusedCell = dict[str, bytes | str | None]
"""The row's `fused` column: PNG bytes, or the path of a file."""
Fuser: TypeAlias = "Callable[[Sequence[Sequence[Tensor]]], Tensor]"
"""Function from infrared, visible and further images of pairs of one shape, as many of each, to
fused images; all on the device of the method, see `fuse_on_device`."""


class Origin(Protocol):
    """The origin of fused images."""

    @property
    def method(self) -> str:
        """Value of the `method` column."""

    @property
    def trained(self) -> bool | None:
        """False for random weights; None if there are no weights."""

    @property
    def sixteen_bit(self) -> SixteenBit:
        """Rule for the conversion of 16-bit images to 8 bits."""

    @property
    def reads_fused(self) -> bool:
        """Whether fused images are read together with their sources."""

    @property
    def reads_reference(self) -> bool:
        """Whether reference images are read, of the pairs that have one."""

    @property
    def reads_further(self) -> bool:
        """Whether the sources after the infrared and the visible image are read."""

    @property
    def encodes(self) -> bool:
        """Whether rows contain the fused images as PNG."""

    @property
    def added_locations(self) -> tuple[str | None, ...]:
        """Folders of the images that are added to the manifest, if any."""

    def load(self, payload: Payload, device: str) -> Fuser | None:
        """Return a function that fuses pairs on a device, or None if images are not fused."""

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell | None:
        """Return the value of the `fused` column for a fused image."""


class MethodOrigin(BaseModel):
    """Fused images that are computed by a fusion method."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    kind: Literal["method"] = "method"
    method: str
    """Name of the fusion method."""
    parameters: dict[str, Any]
    """All parameters of the method."""
    weights: str | None = None
    """Origin of the weights."""
    weights_sha256: str | None = None
    """SHA-256 of the weights."""
    method_origin: CodeOrigin | None = None
    """Code of a method of the user's own; None for a method of irfuse."""
    weights_trained: bool | None = None
    """False for random weights; None for a method without weights."""
    keep_images: bool = True
    """Whether the rows contain the fused images."""

    @property
    def trained(self) -> bool | None:
        """False for random weights; None if there are no weights."""
        return self.weights_trained

    @property
    def sixteen_bit(self) -> SixteenBit:
        """Rule for the conversion of 16-bit images to 8 bits."""
        rule: SixteenBit = self.parameters["sixteen_bit"]
        return rule

    @property
    def reads_fused(self) -> bool:
        """False, because only the sources are read."""
        return False

    @property
    def reads_reference(self) -> bool:
        """False, because only the sources are read."""
        return False

    @property
    def reads_further(self) -> bool:
        """True, because all sources are fused."""
        return True

    @property
    def encodes(self) -> bool:
        """Whether images are kept."""
        return self.keep_images

    @property
    def added_locations(self) -> tuple[str | None, ...]:
        """No folders, because the manifest contains the sources alone."""
        return (None, None)

    def load(self, payload: Payload, device: str) -> Fuser:
        """Load the method onto a device.

        Args:
            payload: Weights, and code of the user's own, as the driver has sent them.
            device: Device to compute on.

        Raises:
            ExtensionError: The code cannot be loaded on this node.
            IrfuseError: Parameters, weights or device cannot be used on this node.
        """
        from fusion_core.extensions import load_method
        from fusion_core.methods import build_method, fuse_on_device, get_method

        own = payload.method
        spec = get_method(self.method) if own is None else load_method(own, sent=True)
        parameters = spec.parameters.parse(self.parameters)
        fuse_batch = build_method(spec, parameters, payload.weights, device)

        def fuse(groups: Sequence[Sequence[Tensor]]) -> Tensor:
            return fuse_on_device(fuse_batch, groups, parameters, spec.channels)

        return fuse

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell | None:
        """Return the image as PNG, or None if images are not kept."""
        return {"bytes": encode_png(fused), "path": None} if self.keep_images else None


class FilesOrigin(BaseModel):
    """Fused images that exist as files."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    kind: Literal["files"] = "files"
    method: str
    """Value of the `method` column."""
    fused: str | None = None
    """Folder of the files; None if the manifest contains their locations."""
    reference: str | None = None
    """Folder of the reference images, if there are any."""
    sixteen_bit: SixteenBit = "percentile"
    """Rule for the conversion of 16-bit images to 8 bits."""

    @property
    def trained(self) -> None:
        """None, because the weights are unknown."""
        return None

    @property
    def reads_fused(self) -> bool:
        """True, because the files are read together with the sources."""
        return True

    @property
    def reads_reference(self) -> bool:
        """Whether there is a folder of reference images."""
        return self.reference is not None

    @property
    def reads_further(self) -> bool:
        """False, because metrics compare with the infrared and the visible image."""
        return False

    @property
    def encodes(self) -> bool:
        """Rows contain the locations of the files instead."""
        return False

    @property
    def added_locations(self) -> tuple[str | None, ...]:
        """Folders of the fused and of the reference images."""
        return (self.fused, self.reference)

    def load(self, payload: Payload, device: str) -> None:
        """Return None, because images are not fused."""
        return

    def to_cell(self, row: PairRow, fused: EightBit) -> FusedCell:
        """Return the location of the file."""
        return {"bytes": None, "path": redact(row.fused_uri)}


AnyOrigin = Annotated[MethodOrigin | FilesOrigin, Field(discriminator="kind")]
