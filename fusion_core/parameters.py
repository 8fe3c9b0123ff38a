"""Parameters that every fusion method has; each method's own model extends them."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from fusion_core.choices import Colour, OutputRange, Precision, SixteenBit
from fusion_core.errors import InvalidValueError


class MethodParameters(BaseModel):
    """Parameters common to all methods."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    colour: Colour = "luma"
    """What a colour visible image becomes: `luma` fuses its luma and keeps its chroma, `gray`
    gives a gray result, `per_channel` fuses R, G and B each with the infrared image."""
    output_range: OutputRange = "clip"
    """How the result is brought to 8 bits: `clip` at 0 and 255, or `minmax` per image."""
    sixteen_bit: SixteenBit = "percentile"
    """How 16-bit sources become 8-bit: `percentile` (1st to 99th of the image) or `full` range."""
    precision: Precision = "fp32"
    """Of the network: `fp32`, the reference, or `bf16`, faster where the processor or GPU has it;
    what is done with its features is float32 in any case."""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build the model from text or typed values.

        Raises:
            InvalidValueError: A name is unknown or a value out of its range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            if not name:  # a check of several parameters, which says itself what it found
                raise InvalidValueError(message) from None
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise InvalidValueError(
                    f"Unknown parameter {name!r}; the parameters are: {known}"
                ) from None
            raise InvalidValueError(
                f"Parameter {name}: {message}, but got {first['input']!r}"
            ) from None
