"""How users define a metric: a function of the three images of a pair, or of a batch.

This module does not import torch.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusion_core.errors import ContractError, InvalidValueError
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_core.metrics.base import ScoredBatch

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class PairScore:
    """Computes a metric of a batch with a function of the three images of one pair."""

    function: Callable[..., Any]

    def __call__(self, batch: ScoredBatch) -> Tensor:
        """Return `(B,)` float64."""
        import torch

        images = batch.gray.cpu().numpy()
        values = [_to_number(self.function(*images[:, n].copy())) for n in range(images.shape[1])]
        return torch.tensor(values, dtype=torch.float64, device=batch.gray.device)


@dataclass(frozen=True, slots=True)
class BatchScore:
    """Computes a metric of a batch with a function of batches."""

    function: Callable[..., Any]

    def __call__(self, batch: ScoredBatch) -> Tensor:
        """Return `(B,)` float64."""
        values = self.function(*batch.gray.unsqueeze(2).clone())
        return check_values(values, batch.gray.shape[1])


@dataclass(frozen=True, slots=True)
class GuardedScore:
    """Computes a metric in a way that leaves the state of the process as it was."""

    score: Callable[[ScoredBatch], Any]

    def __call__(self, batch: ScoredBatch) -> Tensor:
        """Return `(B,)` float64."""
        from fusion_core.extensions.guarding import restored_state  # imports torch

        with restored_state():
            return check_values(self.score(batch), batch.gray.shape[1])


def metric(
    *,
    higher_is_better: bool | None,
    range: tuple[float, float] | str,
    name: str | None = None,
    title: str = "",
    unit: str = "1",
    paper: Paper | str | None = None,
    undefined: str = "",
    decimals: int = 4,
    batch: bool = False,
) -> Callable[[Callable[..., Any]], Metric]:
    """Define a quality metric of fused images.

    The decorated function takes the infrared, the visible and the fused image as `ir`, `vis` and
    `fused`: NumPy arrays `(H, W)` of gray levels, uint8. It returns a number, or NaN where the
    metric is undefined.

    Args:
        higher_is_better: Whether a better fused image has a higher value; None if neither.
        range: Least and greatest value, which may be infinite.
        name: Name of the column; by default that of the function.
        title: Meaning in a few words; by default the first line of the function's docstring.
        unit: Unit of the values; `1` if they have none.
        paper: Publication that defines the metric: a `Paper`, or a citation.
        undefined: When the metric has no value; the reason in rows where it returned NaN.
        decimals: Digits after the decimal point in tables.
        batch: Whether the function takes uint8 tensors `(B, 1, H, W)` on the device that computes,
            and returns a tensor `(B,)`.

    Returns:
        A decorator that replaces the function by the description of the metric.

    Raises:
        InvalidValueError: The name is not one of letters, digits and underscores, or the function
            has other arguments.

    >>> @metric(higher_is_better=True, range=(0, 255))
    ... def brightness(ir, vis, fused):
    ...     return fused.mean()
    >>> brightness.name, brightness.range
    ('brightness', '0..255')
    """

    def describe(function: Callable[..., Any]) -> Metric:
        column = name or str(getattr(function, "__name__", ""))
        if not _NAME.fullmatch(column):
            raise InvalidValueError(
                f"Expected a name of letters, digits and underscores that begins with a letter, "
                f"but got {column!r}"
            )
        if not _takes_three_images(function):
            raise InvalidValueError("Expected a function of (ir, vis, fused)")
        first_line = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
        limits = range if isinstance(range, str) else f"{range[0]:g}..{range[1]:g}"
        return Metric(
            name=column,
            title=title or first_line or column,
            score_batch=BatchScore(function) if batch else PairScore(function),
            higher_is_better=higher_is_better,
            range=limits,
            unit=unit,
            paper=Paper.from_text(paper) if isinstance(paper, str) else paper,
            undefined=undefined,
            decimals=decimals,
        )

    return describe


def check_values(values: object, count: int) -> Tensor:
    """Check what a metric returned for a batch: `(B,)`.

    Raises:
        ContractError: It is no tensor of one number per pair.
    """
    import torch

    if not isinstance(values, torch.Tensor) or values.is_complex():
        raise ContractError(f"The metric must return a tensor of numbers, but got {type(values)}")
    if values.shape != (count,):
        raise ContractError(
            f"The metric returned a tensor of shape {tuple(values.shape)} for {count} pairs, but "
            f"must return {(count,)}"
        )
    return values.to(torch.float64)


def _to_number(value: Any) -> float:  # noqa: ANN401
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, "shape", None)
        got = repr(type(value).__name__) if shape is None else f"an array of shape {tuple(shape)}"
        raise ContractError(f"The metric must return a number, but got {got}") from None


def _takes_three_images(function: Callable[..., Any]) -> bool:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    return names == ["ir", "vis", "fused"]
