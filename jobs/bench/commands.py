"""The commands `irfuse bench`, which import large packages only when they need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import App, Parameter
from pydantic import BaseModel

from fusion_core.choices import Autoencoder, Precision
from fusion_core.errors import InvalidValueError
from jobs.key_values import parse_key_values
from jobs.options.common import Json

if TYPE_CHECKING:
    from rich.console import Console

AnyReport = TypeVar("AnyReport", bound=BaseModel)

bench = App(
    name="bench",
    help="Measure the speed of metrics, methods, training and feeding on this machine.",
)


@bench.command(name="metrics")
def bench_metrics(
    *,
    size: str = "640x480",
    metrics: str | None = None,
    repeats: int = 9,
    device: Literal["cpu", "cuda"] = "cpu",
    batch: int = 1,
    json_output: Json = False,
) -> None:
    """Measure the time that the metrics take on one CPU thread or on a GPU.

    Args:
        size: Width and height of the synthetic pairs, such as 640x480.
        metrics: Metrics and presets to measure, separated by commas; by default those of the preset
            `default`.
        repeats: Number of timed repeats per metric, after warm-up.
        device: Device to compute on.
        batch: Number of pairs per batch; use more than one for a GPU.
        json_output: Print JSON instead of the table.
    """
    from jobs.bench import metrics as measuring
    from jobs.bench.tables import print_metrics_report

    width, height = _parse_size(size)
    report = measuring.bench_metrics(
        width=width,
        height=height,
        metrics=None if metrics is None else [name for name in metrics.split(",") if name],
        repeats=repeats,
        device=device,
        batch=batch,
    )
    _show(report, print_metrics_report, as_json=json_output)


@bench.command(name="methods")
def bench_methods(
    *,
    size: str = "640x480",
    method: str | None = None,
    params: Annotated[list[str] | None, Parameter(name="--param", negative=())] = None,
    precision: Literal["fp32", "bf16", "both"] = "both",
    repeats: int = 5,
    device: Literal["cpu", "cuda"] = "cpu",
    batch: int = 1,
    longest_seconds: float = 15.0,
    json_output: Json = False,
) -> None:
    """Measure the time that the methods take on one CPU thread or on a GPU.

    The time of a method's ImageNet network alone and the rate of a matrix product are measured for
    comparison.

    Args:
        size: Width and height of the synthetic pairs, such as 640x480.
        method: Method to measure; by default all methods in their usual variants.
        params: Parameter of the method as NAME=VALUE, repeated for each.
        precision: Precision of the networks.
        repeats: Number of timed repeats per method, after warm-up.
        device: Device to compute on.
        batch: Number of pairs per batch; use more than one for a GPU.
        longest_seconds: Longest time of one repeat; if it would take longer, a part of the images
            is measured instead.
        json_output: Print JSON instead of the table.
    """
    from jobs.bench import methods as measuring
    from jobs.bench.tables import print_methods_report
    from jobs.console.progress import terminal_progress

    width, height = _parse_size(size)
    parameters = parse_key_values(params or {})
    if parameters and method is None:
        raise InvalidValueError("Expected --method together with --param, but got --param only")
    with terminal_progress() as progress:
        report = measuring.bench_methods(
            width=width,
            height=height,
            variants=None if method is None else [(method, parameters)],
            precisions=("fp32", "bf16") if precision == "both" else (precision,),
            repeats=repeats,
            device=device,
            batch=batch,
            longest_s=longest_seconds,
            notify=progress.message,
        )
    _show(report, print_methods_report, as_json=json_output)


@bench.command(name="train")
def bench_train(
    *,
    method: Autoencoder | None = None,
    iterations: int = 60,
    crop: int = 256,
    precision: Precision = "fp32",
    workers: int = 1,
    batch: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    json_output: Json = False,
) -> None:
    """Measure training: steps per second, and the share of time outside of the network's passes.

    Args:
        method: Method whose autoencoder is trained; both by default.
        iterations: Number of steps.
        crop: Side of the crops in pixels.
        precision: Precision of the forward and backward passes.
        workers: Number of workers that share each batch.
        batch: Crops per step; by default those of the method's paper.
        device: Device to compute on.
        json_output: Print JSON instead of the table.
    """
    from fusion_core.training import AUTOENCODERS
    from jobs.bench import training as measuring
    from jobs.bench.tables import print_training_report
    from jobs.console.progress import terminal_progress

    with terminal_progress() as progress:
        report = measuring.bench_training(
            methods=AUTOENCODERS if method is None else (method,),
            iterations=iterations,
            crop=crop,
            precision=precision,
            workers=workers,
            batch=batch,
            device=device,
            progress=progress,
        )
    _show(report, print_training_report, as_json=json_output)


@bench.command(name="feeding")
def bench_feeding(
    *,
    source: str | None = None,
    images: str | None = None,
    size: str = "640x480",
    pairs: int = 512,
    step_ms: float = 2.0,
    location: str | None = None,
    storage_options: Annotated[
        list[str] | None, Parameter(name="--storage-options", negative=())
    ] = None,
    json_output: Json = False,
) -> None:
    """Measure how busy one worker keeps a GPU, which is replaced by a pause for each pair.

    Reading, decoding, encoding and committing are those of `irfuse run`. No GPU is needed.

    Args:
        source: Folder or manifest of pairs to read instead of generated ones.
        images: Generated images, of gray-png, colour-png, gray-jpeg and colour-jpeg, separated by
            commas; by default all of them.
        size: Width and height of generated images, such as 640x480.
        pairs: Number of pairs of each kind.
        step_ms: Time in milliseconds that the GPU would compute for a pair.
        location: Folder or URL below which the pairs and the shards are written, and deleted at the
            end; by default a temporary folder.
        storage_options: Option for fsspec as NAME=VALUE, repeated for each, as for `irfuse run`.
        json_output: Print JSON instead of the table.
    """
    from jobs.bench import feeding as measuring
    from jobs.bench.tables import print_feeding_report
    from jobs.console.progress import terminal_progress

    width, height = _parse_size(size)
    kinds = measuring.ALL_IMAGES if images is None else images.split(",")
    with terminal_progress() as progress:
        report = measuring.bench_feeding(
            source=source,
            images=kinds,
            width=width,
            height=height,
            pairs=pairs,
            step_ms=step_ms,
            location=location,
            storage_options=parse_key_values(storage_options or {}),
            progress=progress,
        )
    _show(report, print_feeding_report, as_json=json_output)


def _show(
    report: AnyReport, print_report: Callable[[Console, AnyReport], None], *, as_json: bool
) -> None:
    from rich.console import Console

    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        print_report(Console(), report)


def _parse_size(text: str) -> tuple[int, int]:
    width, times, height = text.lower().partition("x")
    if not (times and width.isdecimal() and height.isdecimal()):
        raise InvalidValueError(f"Expected a size such as 640x480, but got {text}")
    return int(width), int(height)
