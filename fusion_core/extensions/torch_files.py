"""Fusion models in files of torch.export and TorchScript, which execute code when loaded."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fusion_core.errors import ExtensionError
from fusion_core.extensions.model_card import ModelCard, Source
from fusion_core.extensions.onnx import as_images

_LEAST_DIGITS = 8


def check_trust(name: str, sha256: str, trust_code: str | None) -> None:
    """Check that the user trusts a file, of which nothing but the digest has been read.

    Args:
        name: Name of the file.
        sha256: Digest of the file.
        trust_code: First digits of the digest that the user gave, at least eight.

    Raises:
        ExtensionError: The digits are missing, too few, or those of another file.
    """
    why = f"{name} executes code when it is loaded. If you trust where it comes from, add"
    remedy = f"{why} --trust-code {sha256[:12]} (its SHA-256 begins so)"
    if trust_code is None:
        raise ExtensionError(remedy)
    digits = trust_code.lower()
    if not re.fullmatch(f"[0-9a-f]{{{_LEAST_DIGITS},64}}", digits):
        raise ExtensionError(
            f"Expected at least {_LEAST_DIGITS} digits of a SHA-256 for --trust-code, but got "
            f"{trust_code!r}"
        )
    if not sha256.startswith(digits):
        raise ExtensionError(f"--trust-code {trust_code} is the digest of another file. {remedy}")


def build_torch_file(
    data: bytes,
    kind: Literal["torch_export", "torchscript"],
    card: ModelCard,
    shown: str,
    device: torch.device,
) -> Callable[[Tensor], Tensor]:
    """Load a model, which executes its code, and return a function that computes it.

    Args:
        data: Content of the file, which the user trusts.
        kind: Format of the file.
        card: Order of its inputs, or that they are stacked.
        shown: Name of the file.
        device: Device to compute on.

    Raises:
        ExtensionError: It cannot be loaded, or has neither one nor two inputs.
    """
    try:
        module, inputs = _LOADERS[kind](data, device)
    except Exception as error:  # the loaders raise many classes
        reason = " ".join(str(error).split())[:300]
        raise ExtensionError(f"Cannot load {shown}: {reason} ({type(error).__name__})") from error
    stacked = card.stacked is not None or (card.inputs is None and inputs == 1)
    if not stacked and inputs != 2:
        raise ExtensionError(
            f"{shown} has {inputs} inputs; expected two images, or one with both as its channels"
        )

    def fuse(sources: Tensor) -> Tensor:
        images: dict[Source, Tensor] = {"ir": sources[0], "vis": sources[1]}
        ordered = [images[name] for name in card.order]
        given = [torch.cat(ordered, dim=1)] if stacked else ordered
        return as_images(module(*given))

    return fuse


def _load_exported(data: bytes, device: torch.device) -> tuple[Callable[..., Any], int]:
    program = torch.export.load(io.BytesIO(data))
    count = len(program.graph_signature.user_inputs)
    module: nn.Module = program.module()
    return module.to(device).requires_grad_(False), count


def _load_script(data: bytes, device: torch.device) -> tuple[Callable[..., Any], int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the format is deprecated: the file is what it is
        script: Any = torch.jit.load(io.BytesIO(data), map_location=device)
    count = len(script.forward.schema.arguments) - 1
    return script.eval(), count


_LOADERS: dict[str, Callable[[bytes, torch.device], tuple[Callable[..., Any], int]]] = {
    "torch_export": _load_exported,
    "torchscript": _load_script,
}
