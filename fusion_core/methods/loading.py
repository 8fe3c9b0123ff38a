"""Loading of methods onto a device."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.methods.base import FuseBatch, MethodSpec, NoWeights
from fusion_core.methods.weights import find_spec, refuse_weights, require_weights
from fusion_core.networks import Weights, find_device, full_precision
from fusion_core.parameters import MethodParameters


def build_method(
    method: str | MethodSpec,
    parameters: MethodParameters,
    weights: Weights | None,
    device: torch.device | str = "cpu",
) -> FuseBatch:
    """Load a method onto a device.

    Args:
        method: Name or description of the method.
        parameters: Parameters of the method.
        weights: Result of `find_weights`.
        device: Device to compute on.

    Returns:
        The function that fuses batches: `(K, B, C, H, W)` float32 in 0..255 to `(B, C, H, W)`
        float32, of no fixed range, where C is the number of channels in the description.

    Raises:
        InvalidValueError: The method is unknown, or the device does not exist on this machine.
        WeightsError: Weights are missing, do not fit, or were given for a method without weights.

    >>> import torch
    >>> from fusion_core.methods import get_method
    >>> parameters = get_method("densefuse").parameters.parse({"strategy": "l1_norm"})
    >>> fuse_batch = build_method("densefuse", parameters, Weights.from_seed(0))
    >>> fuse_batch(torch.zeros(2, 1, 1, 4, 5)).shape
    torch.Size([1, 1, 4, 5])
    """
    spec = find_spec(method)
    place = find_device(device)
    if isinstance(spec.weights, NoWeights):
        refuse_weights(method, weights)
        return spec.build(parameters, None, place)
    if spec.needs_weights:
        weights = require_weights(method, weights)
    fuse_batch = spec.build(parameters, weights, place)

    def fuse(sources: Tensor) -> Tensor:
        with full_precision(place):
            return fuse_batch(sources)

    return fuse
