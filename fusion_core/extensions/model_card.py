"""What a model file expects and returns: its side file, or what can be guessed from the model.

The side file has the name of the model with the ending .toml, such as seafusion.toml for
seafusion.onnx.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fusion_core.choices import OutputRange
from fusion_core.errors import ExtensionError
from fusion_core.extensions.defining import Adaptation, Precision, Range
from fusion_core.papers import Paper

Source = Literal["ir", "vis"]

_INFRARED = re.compile(r"(^|[^a-z])(ir|inf|infrared|thermal|lwir)([^a-z]|$)", re.IGNORECASE)
_VISIBLE = re.compile(r"(^|[^a-z])(vi|vis|visible|rgb|y)([^a-z]|$)", re.IGNORECASE)


class ModelCard(BaseModel):
    """The content of the side file of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    title: str = ""
    """Short description."""
    paper: str = ""
    """Citation of the publication."""
    license: str = ""
    """Licence of the model."""
    inputs: dict[Source, str] | None = None
    """Names of the inputs for the infrared and the visible image."""
    stacked: str | None = None
    """Name of the only input, whose channels are those of both images."""
    order: tuple[Source, ...] = ("ir", "vis")
    """Order of the images in the channels of `stacked`, or of the inputs of a PyTorch model."""
    output: str | None = None
    """Name of the output with the fused image."""
    input_range: Range | None = None
    """Values that the model expects for black and white."""
    output_range: OutputRange | Range | None = None
    """Values that stand for black and white in the result, as in `@irfuse.method`."""
    pad_multiple: int = Field(default=1, ge=1)
    """Sizes are padded to multiples of this."""
    fixed_size: tuple[int, int] | None = None
    """The only height and width that the model accepts."""
    overlap: int | None = None
    """Pixels by which tiles of a fixed size overlap."""
    channels: Literal[1, 3] = 1
    """Channels of the images."""
    dtype: Precision | None = None
    """Floating-point type of the inputs."""
    batch: bool | None = None
    """Whether the model takes several pairs at once."""

    @model_validator(mode="before")
    @classmethod
    def _stacked_is_an_input(cls, values: Any) -> Any:  # noqa: ANN401
        """Accept `inputs = { stacked = "input" }` as well."""
        if isinstance(values, dict) and isinstance(values.get("inputs"), dict):
            inputs = dict(values["inputs"])
            moved = {name: inputs.pop(name) for name in ("stacked", "order") if name in inputs}
            return {**values, **moved, "inputs": inputs or None}
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any], shown: str) -> ModelCard:
        """Check the content of a side file.

        Raises:
            ExtensionError: A field is unknown or has a wrong value.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise ExtensionError(f"{shown}: {field}: {first['msg']}") from None

    @property
    def assumed(self) -> list[str]:
        """What is not stated and is therefore assumed."""
        return [] if self.input_range else ["the range of the values (0..1)"]

    def to_adaptation(self, model: ModelSignature) -> Adaptation:
        """Return what the adapter does, with what the model itself states."""
        values = self.input_range or (0.0, 1.0)
        wanted = self.output_range
        output = values if wanted is None or isinstance(wanted, str) else wanted
        fixed = self.fixed_size or model.fixed_size
        overlap = min(fixed) // 4 if fixed else 0
        return Adaptation(
            values,
            output,
            1 if fixed else self.pad_multiple,
            fixed,
            overlap if self.overlap is None else self.overlap,
            self.channels,
            self.dtype or model.dtype,
            model.batch if self.batch is None else self.batch,
        )

    @property
    def publication(self) -> Paper | None:
        """The publication."""
        return Paper.from_text(self.paper) if self.paper else None


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """What a model file itself states about its inputs."""

    fixed_size: tuple[int, int] | None = None
    dtype: Precision = "float32"
    batch: bool = True


def side_file_name(model: str) -> str:
    """Return the name of the side file of a model."""
    return str(PurePath(model).with_suffix(".toml"))


def read_side_file(data: bytes, shown: str) -> ModelCard:
    """Parse a side file.

    Raises:
        ExtensionError: It is not TOML, or has unknown fields or wrong values.
    """
    try:
        values = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExtensionError(f"{shown} is not TOML: {error}") from None
    return ModelCard.parse(values, shown)


def match_inputs(names: Sequence[str]) -> dict[Source, str]:
    """Guess which of two inputs is the infrared and which the visible image.

    >>> match_inputs(["rgb_image", "thermal"])
    {'ir': 'thermal', 'vis': 'rgb_image'}
    >>> match_inputs(["input", "input_1"])
    {'ir': 'input', 'vis': 'input_1'}
    """
    first, second = names
    text = first.replace("_", " ")
    other = second.replace("_", " ")
    swapped = _VISIBLE.search(text) and not _INFRARED.search(text)
    if swapped or (_INFRARED.search(other) and not _INFRARED.search(text)):
        return {"ir": second, "vis": first}
    return {"ir": first, "vis": second}
