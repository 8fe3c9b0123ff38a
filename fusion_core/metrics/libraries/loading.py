"""Measures of pyiqa and torchmetrics, with their weights."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from fusion_core.errors import InvalidValueError, WeightsError
from fusion_core.extensions.guarding import restored_state
from fusion_core.metrics.libraries.measures import Measure

Compute: TypeAlias = Callable[..., Tensor]
"""Computes a measure of one fused image and, if it compares, one source: `(1, 3, H, W)` in 0..1."""

_TORCHMETRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "arniqa": ("image.arniqa:ARNIQA", {}),
    "clip_iqa": ("multimodal:CLIPImageQualityAssessment", {"data_range": 1.0}),
    "dists": ("image:DeepImageStructureAndTextureSimilarity", {}),
    "ergas": ("image:ErrorRelativeGlobalDimensionlessSynthesis", {}),
    "lpips": ("image:LearnedPerceptualImagePatchSimilarity", {"normalize": True}),
    "ms_ssim": ("image:MultiScaleStructuralSimilarityIndexMeasure", {"data_range": 1.0}),
    "psnr": ("image:PeakSignalNoiseRatio", {"data_range": 1.0}),
    "psnrb": ("image:PeakSignalNoiseRatioWithBlockedEffect", {"data_range": 1.0}),
    "rase": ("image:RelativeAverageSpectralError", {}),
    "rmse_sw": ("image:RootMeanSquaredErrorUsingSlidingWindow", {}),
    "scc": ("image:SpatialCorrelationCoefficient", {}),
    "ssim": ("image:StructuralSimilarityIndexMeasure", {"data_range": 1.0}),
    "uqi": ("image:UniversalImageQualityIndex", {}),
    "vif": ("image:VisualInformationFidelity", {}),
}
"""Class of each measure in torchmetrics, and its arguments for images in 0..1."""
_GRAY_ONLY = ("psnrb",)
"""Measures of torchmetrics that take images of one channel."""
_DOWNLOAD = re.compile(r'Downloading: "([^"]+)" to (\S+)')


@functools.lru_cache(maxsize=16)
def load_measure(measure: Measure, device: torch.device) -> Compute:
    """Load a measure, with weights that are found or downloaded as its library does.

    Args:
        measure: The measure.
        device: Device to compute on.

    Returns:
        What computes it. Its attribute `module` is the network, if there is one.

    Raises:
        InvalidValueError: The library, or a package that it needs for this measure, is missing.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    load = _load_pyiqa if measure.library == "pyiqa" else _load_torchmetrics
    with restored_state(), _named_downloads(measure):
        library = _import(measure.library, measure)
        try:
            return load(library, measure, device)
        except (ImportError, ValueError, RuntimeError) as error:
            raise InvalidValueError(f"{measure.requested} cannot be loaded: {error}") from error


def identify_measure(measure: Measure) -> dict[str, str]:
    """Return what decides on the values of a measure, for the record of a run.

    Returns:
        The measure, the version of its library, and the SHA-256 of its weights, if it has any.
    """
    compute = load_measure(measure, torch.device("cpu"))
    found = {"measure": measure.requested, "version": version(measure.library)}
    if digest := _digest(compute.module):  # type: ignore[attr-defined]
        found["weights_sha256"] = digest
    return found


def _import(library: str, measure: Measure) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
    raise InvalidValueError(
        f"{measure.requested} needs the package {library}: pip install 'irfuse[iqa]'"
    )


class _Pyiqa:
    """A measure of pyiqa."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, *images: Tensor) -> Tensor:
        value: Tensor = self.module(*images)
        return value


class _Torchmetrics:
    """A measure of torchmetrics, of one image at a time."""

    def __init__(self, module: nn.Module, channels: slice) -> None:
        self.module, self.channels = module, channels

    @torch.inference_mode()  # as when the state was made, which is updated in place
    def __call__(self, *images: Tensor) -> Tensor:
        metric: Any = self.module
        metric.update(*(image[:, self.channels] for image in images))
        value: Tensor = metric.compute()
        metric.reset()
        return value


def _load_pyiqa(library: Any, measure: Measure, device: torch.device) -> Compute:  # noqa: ANN401
    return _Pyiqa(library.create_metric(measure.name, device=device))


def _load_torchmetrics(library: Any, measure: Measure, device: torch.device) -> Compute:  # noqa: ANN401
    path, arguments = _TORCHMETRICS[measure.name]
    module, _, name = path.partition(":")
    built = getattr(importlib.import_module(f"{library.__name__}.{module}"), name)(**arguments)
    channels = slice(1) if measure.name in _GRAY_ONLY else slice(None)
    return _Torchmetrics(built.to(device), channels)


@contextlib.contextmanager
def _named_downloads(measure: Measure) -> Iterator[None]:
    """Say which weights are missing, if they cannot be downloaded.

    The libraries print what they download, and to where.
    """
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield
    except OSError as error:
        downloads = _DOWNLOAD.findall(log.getvalue())
        if downloads:
            url, path = downloads[-1]
            remedy = f"save {url} as {path}"
        else:
            remedy = f"see the documentation of {measure.library} for where it looks for them"
        reason = str(error).strip("<>") or type(error).__name__
        raise WeightsError(
            f"The weights of {measure.requested} are not on this machine and cannot be downloaded "
            f"({reason}): {remedy}"
        ) from None


def _digest(module: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers; empty if there are none."""
    digest, tensors = hashlib.sha256(), 0
    for name, tensor in sorted(module.state_dict().items()):
        if tensor.numel():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
            tensors += 1
    return digest.hexdigest() if tensors else ""
