"""Tensors of weight files: read without executing code, and checked by name and shape."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from fusion_core.errors import WeightsError
from fusion_core.networks.weights import Weights

_READER_ERRORS = (RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError)
"""Errors that the readers raise on damaged files."""
_ZIP_SIGNATURE = b"PK\x03\x04"


def read_tensors(weights: Weights) -> dict[str, Tensor]:
    """Read the tensors of a weight file, without executing code from it.

    Raises:
        WeightsError: The file is neither safetensors nor a plain PyTorch state dict.
    """
    data = weights.data or b""
    try:
        if data.startswith(_ZIP_SIGNATURE):
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        else:
            loaded = load_safetensors(data)
    except (SafetensorError, pickle.UnpicklingError, *_READER_ERRORS):
        raise WeightsError(
            f"{weights.source} is not a weight file that can be read safely: it is damaged or "
            "holds more than tensors; expected safetensors, or a PyTorch state dict of tensors "
            "alone"
        ) from None
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"{weights.source} does not hold a state dict of tensors")
    return {str(name): tensor for name, tensor in loaded.items()}


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Fill a network's parameters in place.

    Raises:
        WeightsError: Names or shapes differ from the network's, or a value is not finite.
    """
    if weights.seed is not None:
        _randomise(network, weights.seed)
        return
    tensors = read_tensors(weights)
    expected = network.state_dict()
    check_tensors(weights, tensors, expected, expected.keys())
    network.load_state_dict(tensors)


def check_tensors(
    weights: Weights,
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    required: AbstractSet[str],
) -> None:
    """Check that tensors read from a file are those of a network.

    Args:
        weights: The file.
        found: Its tensors.
        expected: State dict of the network; only names, shapes and dtypes are read.
        required: Names of the required tensors.

    Raises:
        WeightsError: Tensors are missing or differ, or a value is not finite.
    """
    problem = _first_difference(expected, required, found)
    if problem:
        raise WeightsError(f"{weights.source} holds weights of another network: {problem}")
    broken = [name for name, tensor in found.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise WeightsError(f"{weights.source} holds NaN or infinite values in {broken[0]}")


def _first_difference(
    expected: Mapping[str, Tensor], required: AbstractSet[str], found: Mapping[str, Tensor]
) -> str | None:
    missing = sorted(required - found.keys())
    if missing:
        return f"{missing[0]} is missing ({len(missing)} of {len(required)} are)"
    extra = sorted(found.keys() - expected.keys())
    if extra:
        return f"{extra[0]} is not part of it"
    for name, tensor in found.items():
        shape = expected[name].shape
        if tensor.shape != shape:
            return f"expected {name} of {tuple(shape)}, but got {tuple(tensor.shape)}"
        if expected[name].is_floating_point() and not tensor.is_floating_point():
            return f"expected {name} as floating point, but got {tensor.dtype}"
    return None


def pack_tensors(weights: Weights, tensors: Mapping[str, Tensor]) -> Weights:
    """Return tensors of a file as weights that keep the digest of the complete file."""
    data = save_safetensors({name: tensor.contiguous() for name, tensor in tensors.items()})
    return replace(weights, data=data, digest=weights.sha256)


def _randomise(network: nn.Module, seed: int) -> None:
    """Draw He-normal weights, in the order of the state dict, from one seeded generator."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
            else:
                parameter.zero_()
