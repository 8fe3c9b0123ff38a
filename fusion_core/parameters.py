"""Common parameters of the fusion methods, which the models of the methods extend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from fusion_core.choices import Colour, Convolution, OutputRange, Precision, SixteenBit
from fusion_core.errors import InvalidValueError
from fusion_core.suggestions import invalid_input, unknown_name


@dataclass(frozen=True, slots=True)
class ParameterDescription:
    """Description of a parameter for tables and help texts."""

    name: str
    type: str
    """`choice`, `integer`, `number`, `boolean` or `text`."""
    default: str
    choices: str
    """Accepted values, such as `clip, minmax` or `0 to 64`."""
    meaning: str


class MethodParameters(BaseModel):
    """Parameters of every method."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    colour: Colour = "luma"
    """Treatment of a colour visible image: `luma` fuses its luma and keeps its chroma, `gray`
    returns a gray result, `per_channel` fuses each of R, G and B with the infrared image."""
    output_range: OutputRange = "clip"
    """Conversion of the result to 8 bits: `clip` at 0 and 255, or scale each image by `minmax`."""
    sixteen_bit: SixteenBit = "percentile"
    """Conversion of 16-bit and floating-point sources to 8 bits: from the 1st and 99th `percentile`
    of the image, or from the `full` range (of floating-point values, minimum and maximum)."""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build the model from strings or typed values.

        Raises:
            InvalidValueError: A name is unknown or a value is out of its range.

        >>> MethodParameters.parse({"colour": "gray"}).colour
        'gray'
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            if not name:  # a check of several parameters, whose message is complete
                raise InvalidValueError(message) from None
            if first["type"] == "extra_forbidden":
                raise InvalidValueError(unknown_name("parameter", name, cls.model_fields)) from None
            raise InvalidValueError(
                f"Parameter {name}: {invalid_input(message, first['input'])}"
            ) from None

    @classmethod
    def describe(cls) -> list[ParameterDescription]:
        """Return a description of each parameter.

        >>> MethodParameters.describe()[1].choices
        'clip, minmax'
        """
        return [
            ParameterDescription(
                name,
                _type(field),
                str(field.default).lower() if field.annotation is bool else str(field.default),
                _choices(field),
                " ".join((field.description or "").split()),
            )
            for name, field in cls.model_fields.items()
        ]


class NetworkParameters(MethodParameters):
    """Parameters of a method that has a network."""

    precision: Precision = "fp32"
    """Floating-point format of the network: `fp32`, the reference, or `bf16`, which is faster where
    the processor or GPU supports it. Everything after the network is computed in float32."""
    convolution: Convolution = "winograd"
    """Algorithm of 3x3 convolutions in fp32 on a CPU: `winograd`, which takes less time, and four
    times the memory of their weights, or `direct`, from which it differs by a few 1e-6 of the
    largest value."""


def _type(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "choice"
    types: dict[object, str] = {int: "integer", float: "number", bool: "boolean"}
    return types.get(field.annotation, "text")


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    if field.annotation is bool:
        return "true, false"
    return " ".join(_limits(field))


def _limits(field: FieldInfo) -> Iterator[str]:
    """Yield the limits of a number, such as `0` and `to 64`."""
    for constraint in field.metadata:
        for name, text in (("gt", "above {}"), ("ge", "{}"), ("lt", "below {}"), ("le", "to {}")):
            if (limit := getattr(constraint, name, None)) is not None:
                yield text.format(f"{limit:.10g}")
