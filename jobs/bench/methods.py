"""Timing of the fusion methods, compared with their network alone and with a matrix product."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from fusion_core.choices import Precision
from fusion_core.errors import InvalidValueError
from fusion_core.methods import (
    METHODS,
    FuseBatch,
    ImageNetWeights,
    build_method,
    find_weights,
    get_method,
)
from fusion_core.networks import FeatureExtractor, Weights
from fusion_core.parameters import MethodParameters, NetworkParameters
from jobs.bench.matrix_product import MatrixRate, measure_matrix_product
from jobs.bench.measuring import (
    check_setting,
    describe_machine,
    noisy_pair,
    one_thread,
    peak_memory_mb,
    synchronised,
    time_repeats,
    to_levels,
    versions,
)
from jobs.bench.methods_report import MethodsReport, MethodTiming

_WARM_UPS = 1
_COUNTED_SIDE = 64
"""Side of an image that no method splits into tiles, a multiple of every network's stride."""
_SMALLEST_SIDE = 32
"""Side of the smallest part of an image that is measured."""
_LONGEST_PRODUCT_S = 1.0
"""Longest time of a matrix product in seconds."""
_WEIGHTS = Weights.from_seed(0)

Variant = tuple[str, Mapping[str, Any]]
"""A method and its parameters."""


def default_variants() -> list[Variant]:
    """Return the variants that are measured by default, from the registry of methods."""
    return [(name, variant) for name, spec in METHODS.items() for variant in spec.variants]


def bench_methods(
    *,
    width: int = 640,
    height: int = 480,
    variants: Sequence[Variant] | None = None,
    precisions: Sequence[Precision] = ("fp32", "bf16"),
    repeats: int = 5,
    device: str = "cpu",
    batch: int = 1,
    longest_s: float = 15.0,
    notify: Callable[[str], None] = lambda message: None,
) -> MethodsReport:
    """Measure fusion methods with random weights on generated pairs, on one CPU thread or a GPU.

    The timed code starts with float32 sources on the device, and ends when the fused images are on
    the device. A method and its backbone alone are timed in turn. If a measurement would take
    longer than the limit, such as bfloat16 on a CPU without instructions for it, a smaller part of
    the images or a smaller matrix product is measured, as shown in the report.

    Args:
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        variants: Methods and their parameters; by default the usual variants of all methods.
        precisions: Precisions of the networks; a method without a network is measured once.
        repeats: Number of timed repeats.
        device: `cpu` or `cuda`.
        batch: Number of pairs per batch.
        longest_s: Longest time of one repeat, or of one matrix product, in seconds.
        notify: Called with a message before each measurement.

    Raises:
        InvalidValueError: A method or parameter is unknown, a size or number is below 1, or the
            device does not exist.
    """
    check_setting(min(width, height, repeats, batch), device)
    variants = default_variants() if variants is None else variants
    if not variants or not precisions:
        raise InvalidValueError("Expected at least one method and one precision")
    cases = [case for variant in variants for case in _cases(*variant, precisions)]
    sources = _sources(height, width, batch).to(device)
    rates: dict[Precision, MatrixRate] = {}
    timings = []
    with one_thread(), torch.inference_mode():
        for method, given, parameters in cases:
            precision = _precision(parameters)
            if precision is not None and precision not in rates:
                notify(f"Measuring a matrix product in {precision}")
                rates[precision] = measure_matrix_product(
                    precision, device, longest_s=min(longest_s, _LONGEST_PRODUCT_S)
                )
            settings = [f"{name}={value}" for name, value in given.items()]
            notify(" ".join(["Measuring", method, *settings, *filter(None, [precision])]))
            rate = None if precision is None else rates[precision]
            timings.append(_measure(method, given, parameters, sources, repeats, longest_s, rate))
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


Case = tuple[str, Mapping[str, Any], MethodParameters]


def _cases(method: str, given: Mapping[str, Any], precisions: Sequence[Precision]) -> list[Case]:
    """Return a variant in each precision, or once if the method has no network."""
    spec = get_method(method)
    if not spec.has_network:
        return [(method, given, spec.parameters.parse(dict(given)))]
    return [
        (method, given, spec.parameters.parse({**given, "precision": precision}))
        for precision in precisions
    ]


def _precision(parameters: MethodParameters) -> Precision | None:
    return parameters.precision if isinstance(parameters, NetworkParameters) else None


def _sources(height: int, width: int, batch: int) -> Tensor:
    """Generate pairs: `(2, B, 1, H, W)` float32 in 0..255."""
    pairs = [[to_levels(image) for image in noisy_pair(height, width, n)] for n in range(batch)]
    return torch.from_numpy(np.stack(pairs, axis=1)).unsqueeze(2).float()


def _weights(method: str, parameters: MethodParameters) -> Weights | None:
    """Return random weights of a network, and those that irfuse includes of other methods."""
    if get_method(method).has_network:
        return _WEIGHTS
    return find_weights(method, parameters, None, lambda source: Path(source).read_bytes())


def _measure(
    method: str,
    given: Mapping[str, Any],
    parameters: MethodParameters,
    sources: Tensor,
    repeats: int,
    longest_s: float,
    rate: MatrixRate | None,
) -> MethodTiming:
    fuse_batch = build_method(method, parameters, _weights(method, parameters), sources.device)
    part = _affordable_part(fuse_batch, sources, longest_s)
    actions: list[Callable[[], object]] = [lambda: fuse_batch(part)]
    if (backbone := _backbone(method, parameters, part)) is not None:
        actions.append(backbone)
    seconds = _in_turn(actions, repeats, sources.device)
    megapixels = part[0].numel() / 1e6
    medians = [statistics.median(found) / megapixels * 1e3 for found in seconds]
    flops = None if rate is None else _count_flops(method, parameters, part)
    return MethodTiming(
        method=method,
        parameters=dict(given),
        precision=_precision(parameters),
        width=part.shape[-1],
        height=part.shape[-2],
        ms_per_megapixel=medians[0],
        fastest=min(seconds[0]) / megapixels * 1e3,
        slowest=max(seconds[0]) / megapixels * 1e3,
        backbone_ms_per_megapixel=medians[1] if len(medians) > 1 else None,
        gigaflops=None if flops is None else flops / statistics.median(seconds[0]) / 1e9,
        pairs_per_second=1e3 / medians[0] / (sources[0, 0].numel() / 1e6),
        matrix_product=rate,
    )


def _backbone(
    method: str, parameters: MethodParameters, sources: Tensor
) -> Callable[[], object] | None:
    """Return the forward pass of the method's ImageNet network alone, or None if it has none."""
    kind = get_method(method).weights
    if not isinstance(kind, ImageNetWeights) or not isinstance(parameters, NetworkParameters):
        return None
    extractor = FeatureExtractor(
        kind.layers(parameters),
        _WEIGHTS,
        sources.device,
        precision=parameters.precision,
        convolution=parameters.convolution,
    )
    images = sources.flatten(0, 1)
    return lambda: extractor.reduce(images, lambda features: features[:, :1])


def _affordable_part(fuse_batch: FuseBatch, sources: Tensor, longest_s: float) -> Tensor:
    """Return the images, or the largest part of them that can be fused within the time limit.

    The part starts small and doubles as long as the next one is expected to stay within the limit.
    """
    height, width = sources.shape[-2:]
    part = sources[..., :_SMALLEST_SIDE, :_SMALLEST_SIDE]
    while part.shape != sources.shape:
        [seconds] = time_repeats(synchronised(partial(fuse_batch, part), sources.device), 1, 0)
        larger = sources[..., : min(height, 2 * part.shape[-2]), : min(width, 2 * part.shape[-1])]
        if seconds * larger.numel() > longest_s * part.numel():
            break
        part = larger
    return part


def _in_turn(
    actions: Sequence[Callable[[], object]], repeats: int, device: torch.device
) -> list[list[float]]:
    """Time actions alternately, so that disturbances affect all of them equally."""
    seconds: list[list[float]] = [[] for _ in actions]
    for repeat in range(repeats):
        for action, found in zip(actions, seconds, strict=True):
            warm_ups = _WARM_UPS if repeat == 0 else 0
            found += time_repeats(synchronised(action, device), 1, warm_ups)
    return seconds


def _count_flops(method: str, parameters: MethodParameters, sources: Tensor) -> float:
    """Count the operations of direct convolutions, without the overlap of tiles."""
    direct = parameters.model_copy(update={"convolution": "direct"})
    fuse_batch = build_method(method, direct, _weights(method, direct), sources.device)
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
    """Count the operations of direct calls of oneDNN, which torch's own counter omits."""
    return int(conv_flop_count(list(images), list(weights), list(out_shape)))
