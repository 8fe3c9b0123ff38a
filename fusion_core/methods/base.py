"""The description of a fusion method, which does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fusion_core.choices import FURTHER_SOURCES
from fusion_core.errors import InvalidValueError
from fusion_core.networks import Layers
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters, NetworkParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FuseBatch: TypeAlias = "Callable[[Tensor], Tensor]"
"""A loaded method: `(K, B, 1, H, W)` float32 in 0..255 to `(B, 1, H, W)` float32.

Each of the B sets of K sources is fused independently of the others.
"""


@dataclass(frozen=True, slots=True)
class NoWeights:
    """The method has no network and needs no weights."""


@dataclass(frozen=True, slots=True)
class FileWeights:
    """The method has a network or a dictionary of its own, which is in a file."""

    tensors: str
    """Names of the tensors in the file, shown where one is expected."""
    bundled: Callable[[Any], str | None] = lambda parameters: None
    """Maps the parameters to the name of the weights that irfuse includes, None if it has none."""
    content: str = "autoencoder"
    """What the weights are of, such as `autoencoder` or `dictionary`."""
    required: bool = True
    """Whether the method cannot do without; otherwise, it learns from each pair what a file would
    have held."""


@dataclass(frozen=True, slots=True)
class ImageNetWeights:
    """The method reads layers of a network that torchvision trained on ImageNet."""

    layers: Callable[[Any], Layers]
    """Maps the parameters to the layers that the method reads."""


MethodWeights = NoWeights | FileWeights | ImageNetWeights


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A fusion method as the registry describes it."""

    title: str
    """Short description of the method."""
    parameters: type[MethodParameters]
    """The model of its parameters; a subclass of `NetworkParameters` if it has a network."""
    weights: MethodWeights
    """Kind of weights that the method needs."""
    build: Callable[[Any, Any, torch.device], FuseBatch]
    """Loads the method: parameters, weights (None for `NoWeights`) and device to a `FuseBatch`."""
    paper: Paper | None = None
    """The publication that defines the method; None for elementary operations."""
    most_sources: int | None = 2
    """Number of sources that the method is defined for; None for any number from 2."""
    ms_per_megapixel: int | None = None
    """Milliseconds per megapixel with default parameters, but direct convolutions, as measured in
    the README."""
    bytes_per_pixel: int = 300
    """Largest memory in bytes per pixel that fusing and scoring a pair take on a CPU, in addition
    to what the libraries and the weights take; measured with default parameters, rounded up."""
    channels: Literal[1, 3] = 1
    """Channels of the images that the method fuses: 1 for gray images; 3 for R, G and B, and then
    the method itself treats colour."""
    variants: Sequence[Mapping[str, Any]] = ({},)
    """Parameters under which `irfuse bench methods` measures the method by default."""
    name: str = ""
    """Name for messages; the registry sets it."""

    @property
    def has_network(self) -> bool:
        """Whether the method has a network, and with it a precision."""
        return issubclass(self.parameters, NetworkParameters)

    @property
    def needs_weights(self) -> bool:
        """Whether the method needs the weights of a network, or a dictionary."""
        kind = self.weights
        return kind.required if isinstance(kind, FileWeights) else not isinstance(kind, NoWeights)


def check_source_count(name: str, method: MethodSpec, count: int) -> None:
    """Check that a method is defined for a number of sources.

    Raises:
        InvalidValueError: It fuses two sources only, or there are more than eight.

    >>> from fusion_core.methods import get_method
    >>> check_source_count("densefuse", get_method("densefuse"), 3)
    """
    most = method.most_sources or len(FURTHER_SOURCES) + 2
    if count > most:
        raise InvalidValueError(
            f"{name} fuses {most} sources at most, but got {count}; `irfuse methods NAME` states "
            "how many a method fuses"
        )
