"""Fusion models in ONNX files, which ONNX Runtime computes (extra `onnx`).

A file is parsed as data. Weights may be in other files of the same folder, but nowhere else, and
libraries of custom operators are never loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion_core.errors import ContractError, ExtensionError
from fusion_core.extensions.defining import Precision
from fusion_core.extensions.model_card import (
    ModelCard,
    ModelSignature,
    Source,
    match_inputs,
    read_side_file,
)

_TYPES: dict[str, Precision] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
}
_CARD_PREFIX = "irfuse."


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """An input of a model."""

    name: str
    shape: tuple[int | None, ...]
    """Sizes; None for those that are free."""
    type: str


@dataclass(frozen=True)
class OnnxModel:
    """What an ONNX file states about itself."""

    inputs: list[OnnxInput]
    outputs: list[str]
    metadata: Mapping[str, str]
    details: Mapping[str, str]
    """Producer, and the versions of the sets of operators."""
    external: tuple[str, ...] = ()
    """Names of the files of the same folder that have weights."""

    @property
    def signature(self) -> ModelSignature:
        """What follows for the adapter."""
        first = self.inputs[0]
        batch, *_, height, width = first.shape if len(first.shape) == 4 else (None,) * 4
        fixed = None if height is None or width is None else (height, width)
        return ModelSignature(fixed, _TYPES.get(first.type, "float32"), batch is None)

    def complete(self, card: ModelCard) -> tuple[ModelCard, list[str]]:
        """Return the card with what is guessed, and what was guessed in words.

        Raises:
            ExtensionError: The inputs are not those of two images, or differ from the card.
        """
        guessed, names = list(card.assumed), [given.name for given in self.inputs]
        pairs = next((i.shape[0] for i in self.inputs if len(i.shape) == 4), None)
        if pairs not in (None, 1):
            raise ExtensionError(
                f"The model takes {pairs} pairs at once; export it for one, or for any number"
            )
        if card.inputs is None and card.stacked is None:
            if len(names) == 2:
                card = card.model_copy(update={"inputs": match_inputs(names)})
            elif len(names) == 1:
                card = card.model_copy(update={"stacked": names[0]})
            else:
                raise ExtensionError(
                    f"The model has the inputs {', '.join(names)}; state which are the images, as "
                    'in inputs = { ir = "…", vis = "…" }'
                )
            roles = {str(role): name for role, name in (card.inputs or {}).items()}
            roles = roles or {f"{' and '.join(card.order)} stacked": str(card.stacked)}
            guessed.append(", ".join(f"{role} = {name}" for role, name in roles.items()))
        if card.output is None:
            card = card.model_copy(update={"output": self.outputs[0]})
            if len(self.outputs) > 1:
                guessed.append(f"the output {card.output}")
        wanted = [*(card.inputs or {}).values()] if card.inputs else [card.stacked]
        for name in wanted:
            if name not in names:
                raise ExtensionError(f"The model has no input {name!r}; it has {', '.join(names)}")
        if card.output not in self.outputs:
            raise ExtensionError(
                f"The model has no output {card.output!r}; it has {', '.join(self.outputs)}"
            )
        return card, guessed


def read_onnx(data: bytes, shown: str) -> OnnxModel:
    """Read what a model states about itself, without computing anything.

    Raises:
        ExtensionError: The packages of the extra are missing, the file is damaged, or its weights
            are in another folder.
    """
    onnx = _import("onnx")
    try:
        model = onnx.load_model_from_string(data)  # reads no other files
    except Exception as error:  # the parser raises several classes
        raise ExtensionError(f"{shown} is not an ONNX model ({type(error).__name__})") from error
    external = dict.fromkeys(
        entry.value
        for tensor in _tensors(model.graph)
        for entry in tensor.external_data
        if entry.key == "location"
    )
    for location in external:
        if not location or set(location) & {"/", "\\"} or location.startswith("."):
            raise ExtensionError(
                f"{shown} has weights in {location!r}, which is not a file of the same folder; "
                "save it as one file, with onnx.save(model, path, save_as_external_data=False)"
            )
    initial = {tensor.name for tensor in model.graph.initializer}
    operators = ", ".join(f"{s.domain or 'ai.onnx'} {s.version}" for s in model.opset_import)
    return OnnxModel(
        [_to_input(onnx, given) for given in model.graph.input if given.name not in initial],
        [given.name for given in model.graph.output],
        {entry.key: entry.value for entry in model.metadata_props},
        {
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "operators": operators,
        },
        tuple(external),
    )


def card_in_metadata(model: OnnxModel, shown: str) -> ModelCard:
    """Return the card in the metadata of a model, whose keys begin with `irfuse.`.

    Raises:
        ExtensionError: A value is wrong.
    """
    lines = [
        f"{key.removeprefix(_CARD_PREFIX)} = {value}"
        for key, value in model.metadata.items()
        if key.startswith(_CARD_PREFIX)
    ]
    return read_side_file("\n".join(lines).encode(), f"The metadata of {shown}")


def build_onnx(path: Path, card: ModelCard, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function that computes a model with ONNX Runtime.

    Args:
        path: The file; those with its weights are in the same folder.
        card: Its inputs and output.
        device: Device to compute on.

    Raises:
        ExtensionError: ONNX Runtime is missing, does not support the device, or refuses the model.
    """
    runtime = _import("onnxruntime")
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in runtime.get_available_providers():
        raise ExtensionError(
            "ONNX Runtime has no CUDA here: install onnxruntime-gpu instead of onnxruntime, or use "
            "--device cpu"
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # ONNX Runtime raises classes of its own
        reason = " ".join(str(error).split())[:300]
        raise ExtensionError(f"ONNX Runtime refuses the model: {reason}") from error
    if session.get_providers()[0] != provider:
        raise ExtensionError("ONNX Runtime cannot use CUDA for this model; use --device cpu")
    shapes = {given.name: given.shape for given in session.get_inputs()}

    def fuse(sources: Tensor) -> Tensor:
        images: dict[Source, Tensor] = {"ir": sources[0], "vis": sources[1]}
        if card.inputs is not None:
            given = {name: images[source] for source, name in card.inputs.items()}
        else:
            given = {str(card.stacked): torch.cat([images[name] for name in card.order], dim=1)}
        arrays = {
            name: np.ascontiguousarray(_with_channels(image, shapes[name]).cpu().numpy())
            for name, image in given.items()
        }
        (fused,) = session.run([card.output], arrays)
        return as_images(torch.from_numpy(fused))

    return fuse


def _with_channels(image: Tensor, shape: list[Any]) -> Tensor:
    """Reduce an image to one channel where the model expects one, such as of gray infrared."""
    return image[:, :1] if len(shape) == 4 and shape[1] == 1 else image


def as_images(fused: object) -> Tensor:
    """Return the output of a model as `(B, C, H, W)`.

    Raises:
        ContractError: It is no tensor of three or four dimensions.
    """
    if isinstance(fused, (tuple, list)) and fused:
        fused = fused[0]
    if not isinstance(fused, Tensor) or fused.ndim not in (3, 4):
        shape = tuple(fused.shape) if isinstance(fused, Tensor) else type(fused).__name__
        raise ContractError(f"The output of the model must be (B, C, H, W), but got {shape}")
    return fused if fused.ndim == 4 else fused.unsqueeze(1)


def _import(name: str) -> Any:  # noqa: ANN401
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ExtensionError(
            f"ONNX models need the package {name}: pip install 'irfuse[onnx]' on every node"
        ) from None


def _to_input(onnx: Any, given: Any) -> OnnxInput:  # noqa: ANN401
    tensor = given.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in tensor.shape.dim
    )
    types = {"FLOAT": "float", "DOUBLE": "double"}
    name = onnx.TensorProto.DataType.Name(tensor.elem_type)
    return OnnxInput(given.name, shape, f"tensor({types.get(name, name.lower())})")


def _tensors(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield all constants of a graph, also those of graphs inside of it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for part in inner:
                yield from _tensors(part)
