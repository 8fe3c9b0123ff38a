"""How long the fusion methods take, beside their network alone and a matrix product."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, computed_field
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from fusion_core.choices import Precision
from fusion_core.errors import InvalidValueError
from fusion_core.methods import FuseBatch, build_method, get_method
from fusion_core.methods.base import ImageNetWeights
from fusion_core.networks.backbones import FeatureExtractor
from fusion_core.networks.weights import Weights
from jobs.bench.measuring import (
    Report,
    check_setting,
    describe_machine,
    noisy_pair,
    one_thread,
    peak_memory_mb,
    time_repeats,
    to_levels,
    versions,
)

_WARM_UPS = 1
_MATRIX_SIDE = 2048
_COUNTED_SIDE = 256
"""Side of an image that no method cuts into tiles."""
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
_WEIGHTS = Weights.from_seed(0)

VARIANTS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("densefuse", {"strategy": "addition"}),
    ("densefuse", {"strategy": "l1_norm"}),
    ("vgg_multilayer", {}),
    ("resnet_zca", {"layer": "conv4", "norm": "l1"}),
    ("resnet_zca", {"layer": "conv4", "norm": "l2"}),
    ("resnet_zca", {"layer": "conv4", "norm": "nuclear"}),
    ("resnet_zca", {"layer": "conv5", "norm": "l1"}),
    ("resnet152", {}),
    ("res2netfuse", {"strategy": "mean"}),
    ("res2netfuse", {"strategy": "l1_norm"}),
)
"""What is measured by default."""


class MethodTiming(BaseModel):
    """How long one method takes, and how much of it is its network."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    method: str
    """Name."""
    parameters: dict[str, Any]
    """Those that differ from the defaults, or were asked for."""
    precision: Precision
    """Of the network."""
    ms_per_megapixel: float
    """Median of the repeats after warm-up; megapixels of one source."""
    fastest: float
    """Milliseconds per megapixel of the fastest repeat."""
    slowest: float
    """Milliseconds per megapixel of the slowest repeat."""
    backbone_ms_per_megapixel: float | None
    """Of the ImageNet network's forward passes alone; None if the method has its own network."""
    gigaflops: float
    """Floating-point operations of the network's convolutions, per second of the whole."""
    matmul_gigaflops: float
    """Of a large matrix product in the same precision, in the same run."""
    pairs_per_second: float
    """From the median."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def around_backbone(self) -> float | None:
        """Time around the backbone, as a multiple of the backbone's own."""
        if self.backbone_ms_per_megapixel is None:
            return None
        return self.ms_per_megapixel / self.backbone_ms_per_megapixel - 1.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def matmul_share(self) -> float:
        """Rate as a share of that of the matrix product."""
        return self.gigaflops / self.matmul_gigaflops


class MethodsReport(Report):
    """What `irfuse bench methods` measured."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    batch: int
    """Pairs computed at once."""
    repeats: int
    """Timed repeats after warm-up."""
    timings: list[MethodTiming]
    """Each method in each precision."""
    peak_memory_mb: float
    """Largest memory, all methods together."""


def bench_methods(
    *,
    width: int = 640,
    height: int = 480,
    variants: Sequence[tuple[str, Mapping[str, Any]]] = VARIANTS,
    precisions: Sequence[Precision] = ("fp32", "bf16"),
    repeats: int = 5,
    device: str = "cpu",
    batch: int = 1,
) -> MethodsReport:
    """Measure fusion methods with random weights on made-up pairs, with one CPU thread or a GPU.

    What is timed takes float32 sources that lie on the device already, and ends when the fused
    images lie there. A method and its backbone alone are timed in turn.

    Args:
        width: Pixels.
        height: Pixels.
        variants: Methods, each with its parameters.
        precisions: Of the networks.
        repeats: Timed repeats of each.
        device: `cpu` or `cuda`.
        batch: Pairs at once.

    Raises:
        InvalidValueError: No such method or parameter, a size or number below 1, or no such device.
    """
    check_setting(min(width, height, repeats, batch), device)
    if not variants or not precisions:
        raise InvalidValueError("Expected at least one method and one precision")
    sources = _sources(height, width, batch).to(device)
    with one_thread(), torch.inference_mode():
        rates = {precision: _matmul_gigaflops(precision, device) for precision in precisions}
        timings = [
            _measure(method, parameters, precision, sources, repeats, rates[precision])
            for method, parameters in variants
            for precision in precisions
        ]
        peak = peak_memory_mb(device)
    return MethodsReport(
        machine=describe_machine(device),
        versions=versions("irfuse", "torch", "torchvision"),
        width=width,
        height=height,
        batch=batch,
        repeats=repeats,
        timings=timings,
        peak_memory_mb=peak,
    )


def _sources(height: int, width: int, batch: int) -> Tensor:
    """Draw pairs: `(2, B, 1, H, W)` float32 in 0..255."""
    pairs = [[to_levels(image) for image in noisy_pair(height, width, n)] for n in range(batch)]
    return torch.from_numpy(np.stack(pairs, axis=1)).unsqueeze(2).float()


def _measure(
    method: str,
    parameters: Mapping[str, Any],
    precision: Precision,
    sources: Tensor,
    repeats: int,
    matmul_gigaflops: float,
) -> MethodTiming:
    spec = get_method(method)
    parsed = spec.parameters.parse({**parameters, "precision": precision})
    fuse_batch = build_method(method, parsed, _WEIGHTS, sources.device)
    actions: list[Callable[[], object]] = [lambda: fuse_batch(sources)]
    if isinstance(spec.weights, ImageNetWeights):
        extractor = FeatureExtractor(
            spec.weights.layers(parsed), _WEIGHTS, sources.device, precision=precision
        )
        images = sources.flatten(0, 1)
        actions.append(lambda: extractor.reduce(images, lambda features: features[:, :1]))
    seconds = _in_turn(actions, repeats, sources.device)
    megapixels = sources[0].numel() / 1e6
    median = statistics.median(seconds[0])
    return MethodTiming(
        method=method,
        parameters=dict(parameters),
        precision=precision,
        ms_per_megapixel=median / megapixels * 1e3,
        fastest=min(seconds[0]) / megapixels * 1e3,
        slowest=max(seconds[0]) / megapixels * 1e3,
        backbone_ms_per_megapixel=(
            statistics.median(seconds[1]) / megapixels * 1e3 if len(seconds) > 1 else None
        ),
        gigaflops=_count_flops(fuse_batch, sources) / median / 1e9,
        matmul_gigaflops=matmul_gigaflops,
        pairs_per_second=sources.shape[1] / median,
    )


def _in_turn(
    actions: Sequence[Callable[[], object]], repeats: int, device: torch.device
) -> list[list[float]]:
    """Time actions one after the other, again and again: what disturbs one disturbs all."""
    seconds: list[list[float]] = [[] for _ in actions]
    for repeat in range(repeats):
        for action, found in zip(actions, seconds, strict=True):
            warm_ups = _WARM_UPS if repeat == 0 else 0
            found += time_repeats(partial(_wait, action, device), 1, warm_ups)
    return seconds


def _wait(action: Callable[[], object], device: torch.device) -> None:
    action()
    if device.type == "cuda":
        torch.cuda.synchronize()


def _count_flops(fuse_batch: FuseBatch, sources: Tensor) -> float:
    """Count the operations that the convolutions need, without the halos of tiles."""
    small = sources.new_zeros((len(sources), 1, 1, _COUNTED_SIDE, _COUNTED_SIDE))
    formulas = {torch.ops.aten.mkldnn_convolution: _convolution_flops}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        fuse_batch(small)
    operations = counter.get_flop_counts()["Global"]
    counted = sum(n for kind, n in operations.items() if "convolution" in str(kind))
    return float(counted) * sources.numel() / small.numel()


def _convolution_flops(
    images: Sequence[int],
    weights: Sequence[int],
    *_: object,
    out_shape: Sequence[int],
    **__: object,
) -> int:
    """Count what torch's own counter leaves out: convolutions that oneDNN is asked for directly."""
    return int(conv_flop_count(list(images), list(weights), list(out_shape)))


def _matmul_gigaflops(precision: Precision, device: str) -> float:
    """Measure a large matrix product; on a CPU by torch's way and by oneDNN's, whichever is faster.

    On some processors torch's own reaches less than half of what the other does.
    """
    dtype = _DTYPES[precision]
    left = torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, device=device).to(dtype)
    products: list[Callable[[], object]] = [lambda: left @ left]
    if device == "cpu" and torch.backends.mkldnn.is_available():
        rows = left.view(1, _MATRIX_SIDE, 1, -1).to(memory_format=torch.channels_last)
        filters = left.view(_MATRIX_SIDE, _MATRIX_SIDE, 1, 1)
        products.append(
            lambda: torch.mkldnn_convolution(rows, filters, None, (0, 0), (1, 1), (1, 1), 1)
        )
    seconds = [time_repeats(partial(_wait, product, left.device), 7, 2) for product in products]
    return 2.0 * _MATRIX_SIDE**3 / min(map(statistics.median, seconds)) / 1e9
