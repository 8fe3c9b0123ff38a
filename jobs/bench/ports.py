"""Other packages' implementations of the metrics, for comparison of their speed."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fusion_core.errors import IrfuseError
from fusion_core.metrics import MEASURES
from fusion_core.metrics.libraries.loading import load_measure

Action = Callable[[], object]

_MEASURES = {
    "EN": ("pyiqa_entropy",),
    "PSNR": ("pyiqa_psnr", "torchmetrics_psnr"),
    "SSIM_a": ("pyiqa_ssim", "torchmetrics_ssim"),
    "MS_SSIM_wang": ("pyiqa_ms_ssim", "torchmetrics_ms_ssim"),
    "VIF": ("pyiqa_vif", "torchmetrics_vif"),
}
"""Measures of pyiqa and torchmetrics that are the metric but for borders and constants."""
_SEWAR = {
    "MSE": "mse",
    "RMSE": "rmse",
    "PSNR": "psnr",
    "SSIM_a": "ssim",
    "MS_SSIM_wang": "msssim",
    "VIF": "vifp",
}
"""Functions of sewar, likewise."""


def find_ports(metric: str, images: Sequence[NDArray[np.uint8]]) -> dict[str, Action]:
    """Return what computes a metric of one pair with each of the installed packages.

    Args:
        metric: Name of the metric.
        images: A, B and F: `(H, W)`.

    Returns:
        Name of the package to a function that computes the metric with it, of F with A and with B
        if it compares with them.
    """
    return dict([*_measures(metric, images), *_sewar(metric, images)])


def _measures(metric: str, images: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[str, Action]]:
    # pyiqa takes RGB only for some measures.
    a, b, f = (torch.from_numpy(x).float().div(255.0).expand(1, 3, -1, -1) for x in images)
    for column in _MEASURES.get(metric, ()):
        measure = MEASURES[column]
        try:
            compute = load_measure(measure, torch.device("cpu"))
        except IrfuseError:  # it is not installed, or misses its weights
            continue
        pairs = [(f, a), (f, b)] if measure.compares else [(f,)]
        yield measure.library, functools.partial(_compute_pairs, compute, pairs)


def _sewar(metric: str, images: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[str, Action]]:
    try:
        functions = importlib.import_module("sewar.full_ref")
    except ImportError:
        return
    if metric in _SEWAR:
        compute = getattr(functions, _SEWAR[metric])
        a, b, f = images
        yield "sewar", functools.partial(_compute_pairs, compute, [(a, f), (b, f)])


def _compute_pairs(compute: Callable[..., object], pairs: Sequence[Sequence[Any]]) -> None:
    for pair in pairs:
        compute(*pair)
