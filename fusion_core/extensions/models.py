"""Methods that are model files: from the file to the description of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from fusion_core.choices import OutputRange
from fusion_core.extensions.code import Extension
from fusion_core.extensions.model_card import (
    ModelCard,
    ModelSignature,
    read_side_file,
    side_file_name,
)
from fusion_core.methods.base import FuseBatch, MethodSpec, NoWeights
from fusion_core.parameters import MethodParameters

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ModelBuild:
    """Builds a method from a model file."""

    extension: Extension
    card: ModelCard
    signature: ModelSignature
    guessed: tuple[str, ...]
    """What is stated neither by the model nor by its side file."""

    def __call__(self, parameters: Any, weights: Any, device: torch.device) -> FuseBatch:  # noqa: ANN401
        """Load the model onto a device, and adapt it."""
        from fusion_core.extensions.adapter import adapt
        from fusion_core.extensions.onnx import build_onnx
        from fusion_core.extensions.torch_files import build_torch_file

        name, kind = self.extension.target.location, self.extension.target.kind
        if kind == "torch_export" or kind == "torchscript":
            model = build_torch_file(self.extension.files[name], kind, self.card, name, device)
        else:
            model = build_onnx(self.extension.unpack() / name, self.card, device)
        return adapt(model, self.card.to_adaptation(self.signature), device)


def model_spec(extension: Extension) -> MethodSpec:
    """Return the description of the method that a model file is, without loading it.

    Raises:
        ExtensionError: The side file is wrong, or the model is not what it states.
    """
    name = extension.target.location
    side = side_file_name(name)
    card = read_side_file(extension.files[side], side) if side in extension.files else ModelCard()
    signature, guessed = ModelSignature(batch=extension.target.kind != "onnx"), card.assumed
    if extension.target.kind == "onnx":
        from fusion_core.extensions.onnx import card_in_metadata, read_onnx

        model = read_onnx(extension.files[name], name)
        if side not in extension.files:
            card = card_in_metadata(model, name)
        card, guessed = model.complete(card)
        signature = model.signature
    elif card.inputs is None and card.stacked is None:
        guessed = [*guessed, f"the order of the inputs ({', '.join(card.order)})"]
    return MethodSpec(
        title=card.title or name,
        paper=card.publication,
        parameters=_parameters(card),
        weights=NoWeights(),
        build=ModelBuild(extension, card, signature, tuple(guessed)),
        channels=card.channels,
    )


def _parameters(card: ModelCard) -> type[MethodParameters]:
    if card.output_range != "minmax":
        return MethodParameters
    description = MethodParameters.model_fields["output_range"].description
    model: type[MethodParameters] = create_model(
        "ModelParameters",
        __base__=MethodParameters,
        output_range=(OutputRange, Field(default="minmax", description=description)),
    )
    return model
