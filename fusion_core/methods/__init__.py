"""The fusion methods: one module each, listed in `METHODS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusion_core.errors import InvalidValueError, WeightsError
from fusion_core.methods.densefuse import DenseFuseParameters, build_densefuse
from fusion_core.parameters import MethodParameters
from fusion_core.weights import Weights

FuseBatch = Callable[[Tensor], Tensor]
"""`(K, B, 1, H, W)` float32 in 0..255 to `(B, 1, H, W)` float32, each image by itself."""


@dataclass(frozen=True)
class MethodSpec:
    """A fusion method as the registry knows it."""

    title: str
    paper: str
    parameters: type[MethodParameters]
    build: Callable[[Any, Weights, torch.device], FuseBatch]
    weights_hint: str
    """What to give as weights, said when they are missing."""


METHODS: dict[str, MethodSpec] = {
    "densefuse": MethodSpec(
        title="DenseFuse autoencoder",
        paper="Li & Wu, DenseFuse: A Fusion Approach to Infrared and Visible Images, IEEE TIP 2019",
        parameters=DenseFuseParameters,
        build=build_densefuse,
        weights_hint=(
            "give the trained autoencoder with --weights FILE (safetensors or a PyTorch state "
            "dict with c1, dc1, dc2, dc3, c2, c3, c4, c5), or --weights random:0 for an "
            "untrained dry run"
        ),
    ),
}


def list_methods() -> list[str]:
    """Return the names of all methods."""
    return list(METHODS)


def get_method(name: str) -> MethodSpec:
    """Return a method by name.

    Raises:
        InvalidValueError: There is no such method.
    """
    if name not in METHODS:
        raise InvalidValueError(f"Unknown method {name!r}; the methods are: {', '.join(METHODS)}")
    return METHODS[name]


def build_method(
    name: str,
    parameters: MethodParameters,
    weights: Weights | None,
    device: torch.device | str = "cpu",
) -> FuseBatch:
    """Load a method onto a device.

    Raises:
        InvalidValueError: There is no such method, or no such device here.
        WeightsError: Weights are missing or do not fit.
    """
    spec = get_method(name)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidValueError(
            f"Cannot compute on device {str(device)!r}: {str(error).splitlines()[0]}"
        ) from None
    if weights is None:
        raise WeightsError(f"{name} needs weights: {spec.weights_hint}")
    return spec.build(parameters, weights, torch.device(device))
