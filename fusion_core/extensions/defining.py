"""How users define a method: a function of two images, or a builder that is decorated.

This module does not import torch.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from fusion_core.choices import OutputRange
from fusion_core.errors import ExtensionError, InvalidValueError
from fusion_core.methods.base import FileWeights, FuseBatch, MethodSpec, NoWeights
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters

if TYPE_CHECKING:
    import torch

Range = tuple[float, float]
Precision = Literal["float16", "bfloat16", "float32", "float64"]
_EIGHT_BITS: Range = (0.0, 255.0)
_OWN_WEIGHTS = FileWeights("its tensors", bundled=lambda parameters: None, content="network")


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What a method expects and returns, where that differs from the methods of irfuse."""

    input_range: Range = _EIGHT_BITS
    """Values that stand for black and white in the sources."""
    output_range: Range = _EIGHT_BITS
    """Values that stand for black and white in the result."""
    pad_multiple: int = 1
    """Height and width are padded to multiples of this by reflection, and the result is cropped."""
    fixed_size: tuple[int, int] | None = None
    """The only height and width that the method accepts: images are fused in tiles that overlap,
    and are blended."""
    overlap: int = 0
    """Pixels by which neighbouring tiles overlap at least."""
    channels: Literal[1, 3] = 1
    """Channels of the sources and of the result: 1 for gray images, 3 for R, G and B."""
    dtype: Precision = "float32"
    """Floating-point type of the sources."""
    batch: bool = True
    """Whether the method takes several pairs at once."""

    def __post_init__(self) -> None:
        for name in ("input_range", "output_range"):
            low, high = getattr(self, name)
            if not low < high:
                raise InvalidValueError(
                    f"Expected {name} as (black, white) with black < white, but got {low, high}"
                )
        if self.pad_multiple < 1:
            raise InvalidValueError(f"Expected pad_multiple of at least 1, got {self.pad_multiple}")
        if self.fixed_size is not None and self.pad_multiple != 1:
            raise InvalidValueError("Expected pad_multiple or fixed_size, but got both")
        if self.fixed_size is not None and not 0 <= self.overlap < min(self.fixed_size):
            raise InvalidValueError(
                f"Expected an overlap from 0 to less than {min(self.fixed_size)}, the smaller side "
                f"of fixed_size, but got {self.overlap}"
            )
        if self.channels not in (1, 3):
            raise InvalidValueError(f"Expected 1 or 3 channels, but got {self.channels}")


@dataclass(frozen=True, slots=True)
class AdaptedBuild:
    """Builds a user's method, and adapts what it expects and returns."""

    build: Callable[[Any, Any, torch.device], Callable[..., Any]]
    adaptation: Adaptation = field(default_factory=Adaptation)

    def __call__(self, parameters: Any, weights: Any, device: torch.device) -> FuseBatch:  # noqa: ANN401
        """Build the method."""
        from fusion_core.extensions.adapter import adapt  # imports torch

        return adapt(self.build(parameters, weights, device), self.adaptation, device)


@dataclass(frozen=True, slots=True)
class PairBuild:
    """Builds a method from a function of the two images of one pair."""

    function: Callable[..., Any]

    def __call__(self, parameters: Any, weights: Any, device: torch.device) -> Callable[..., Any]:  # noqa: ANN401
        """Return a function of batches of one pair, which calls the function with two arrays."""
        from fusion_core.extensions.adapter import on_arrays  # imports torch

        own = set(type(parameters).model_fields) - set(MethodParameters.model_fields)
        return on_arrays(self.function, {name: getattr(parameters, name) for name in own})


def method(
    *,
    title: str = "",
    paper: Paper | str | None = None,
    parameters: type[MethodParameters] = MethodParameters,
    weights: bool = False,
    input_range: Range = _EIGHT_BITS,
    output_range: OutputRange | Range = "clip",
    pad_multiple: int = 1,
    fixed_size: tuple[int, int] | None = None,
    overlap: int | None = None,
    channels: Literal[1, 3] = 1,
    dtype: Precision = "float32",
    batch: bool = True,
    most_sources: int | None = 2,
) -> Callable[[Callable[..., Any]], MethodSpec]:
    """Define a fusion method.

    The decorated function is either a builder, `build(parameters, weights, device)`, which returns
    a function (or `torch.nn.Module`) that fuses K sources in batches, `(K, B, C, H, W)` to
    `(B, C, H, W)`; or a function of one pair, `fuse(ir, vis)`, which takes and returns NumPy arrays
    `(H, W)`, or `(H, W, 3)` with `channels=3`. Source 0 is infrared, source 1 visible. All values
    are floating-point numbers in the range that is stated here. Modules are set to `eval()`, and
    methods are called in `torch.inference_mode()`.

    Args:
        title: Short description; by default the first line of the function's docstring.
        paper: Publication that defines the method: a `Paper`, or a citation.
        parameters: Model of the parameters, whose fields are options of `--param` and whose
            docstrings describe them. The keyword arguments of a function of one pair are its
            parameters.
        weights: Whether the builder needs `--weights FILE`; its argument `weights` then has the
            bytes, which `irfuse.load_weights(network, weights)` reads into a network.
        input_range: Values that the method expects for black and white.
        output_range: Values that stand for black and white in the result; `clip` if they are those
            of `input_range`; `minmax` if the result has no fixed range, and the minimum and maximum
            of each image are black and white.
        pad_multiple: The method accepts heights and widths that are multiples of this number.
            Images are padded by reflection, and results are cropped.
        fixed_size: The only height and width that the method accepts. Larger images are fused in
            tiles that overlap and are blended.
        overlap: Pixels by which tiles overlap; a quarter of the smaller side by default.
        channels: 1 for a method of gray images, to which `colour` applies as to all methods; 3 for
            one that takes and returns R, G and B. A gray source is then repeated.
        dtype: Floating-point type that the method expects.
        batch: Whether the method takes several pairs at once; otherwise B is 1.
        most_sources: Number K of sources that a builder's method is defined for; None for any
            number from 2.

    Returns:
        A decorator that replaces the function by the description of the method.

    Raises:
        InvalidValueError: The arguments contradict each other, or the function has other arguments.

    >>> @method(title="Weighted mean", input_range=(0, 1))
    ... def fuse(ir, vis, *, weight: float = 0.5):
    ...     return weight * ir + (1 - weight) * vis
    >>> fuse.parameters.parse({"weight": "0.25"}).weight
    0.25
    """
    minmax = output_range == "minmax"
    values = input_range if isinstance(output_range, str) else output_range
    least = min(fixed_size) if fixed_size else 0
    adaptation = Adaptation(
        (float(input_range[0]), float(input_range[1])),
        (float(values[0]), float(values[1])),
        pad_multiple,
        fixed_size,
        least // 4 if overlap is None else overlap,
        channels,
        dtype,
        batch,
    )

    def describe(function: Callable[..., Any]) -> MethodSpec:
        build, settings = function, adaptation
        model: type[MethodParameters] = parameters
        if _takes_a_pair(function):
            if weights:
                raise InvalidValueError(
                    "A function of one pair takes no weights; define a builder of (parameters, "
                    "weights, device) instead"
                )
            build, model = PairBuild(function), _keyword_parameters(function, parameters)
            settings = replace(adaptation, batch=False)
        else:
            _check_builder(function)
        if minmax:
            model = create_model(
                model.__name__, __base__=model, output_range=(OutputRange, _minmax_field(model))
            )
        first_line = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
        return MethodSpec(
            title=title or first_line or getattr(function, "__name__", "Method"),
            paper=Paper.from_text(paper) if isinstance(paper, str) else paper,
            parameters=model,
            weights=_OWN_WEIGHTS if weights else NoWeights(),
            build=AdaptedBuild(build, settings),
            channels=channels,
            most_sources=most_sources if settings is adaptation else 2,
        )

    return describe


def to_method_spec(found: object, name: str) -> MethodSpec:
    """Return the description of a method that a module or entry point has under some name.

    Args:
        found: A description, or a function of the two images of a pair.
        name: Name for messages.

    Raises:
        ExtensionError: It is neither.
    """
    if isinstance(found, MethodSpec):
        return found
    if callable(found) and _takes_a_pair(found):
        return method()(found)
    what = f"a function of ({_signature(found)})" if callable(found) else repr(type(found).__name__)
    raise ExtensionError(
        f"Cannot load {name}: expected a function of (ir, vis), or a builder with the decorator "
        f"@irfuse.method(), but got {what}"
    )


def _signature(function: Callable[..., Any]) -> str:
    try:
        return ", ".join(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return "unknown arguments"


def _takes_a_pair(function: Callable[..., Any]) -> bool:
    """Whether the first two arguments are the images, and all others have names and defaults."""
    try:
        first, second, *others = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return (first.name, second.name) == ("ir", "vis") and all(
        other.kind is other.KEYWORD_ONLY or other.default is not other.empty for other in others
    )


def _check_builder(function: Callable[..., Any]) -> None:
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        raise InvalidValueError(
            "Expected a function of (ir, vis) or of (parameters, weights, device), but got one of "
            f"({_signature(function)})"
        ) from None


def _keyword_parameters(
    function: Callable[..., Any], base: type[MethodParameters]
) -> type[MethodParameters]:
    """Return the model of the keyword arguments of a function of one pair."""
    types = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for argument in list(inspect.signature(function).parameters.values())[2:]:
        if argument.name in base.model_fields:
            raise InvalidValueError(
                f"All methods have the parameter {argument.name!r}; give the argument another name"
            )
        default = ... if argument.default is argument.empty else argument.default
        kind = types.get(argument.name, Any if default is ... else type(default))
        fields[argument.name] = (kind, default)
    return (
        create_model(f"{function.__name__}Parameters", __base__=base, **fields) if fields else base
    )


def _minmax_field(model: type[MethodParameters]) -> Any:  # noqa: ANN401
    return Field(default="minmax", description=model.model_fields["output_range"].description)
