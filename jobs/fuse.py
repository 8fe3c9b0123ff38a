"""Fuse one pair of image files, without Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from cluster.storage import Reader, Store, redact
from fusion_core import score
from fusion_core.choices import FURTHER_SOURCES
from fusion_core.compiled.announcing import announced_compilation
from fusion_core.errors import InvalidValueError, StorageError
from fusion_core.extensions import choose_metrics, find_method
from fusion_core.images import (
    Pixels,
    decode_named,
    decode_pair,
    image_encoder,
    to_eight_bit,
    to_one_size,
)
from fusion_core.methods import (
    build_method,
    check_registered,
    check_source_count,
    fuse_images,
)
from fusion_core.networks import find_device
from jobs.options import FuseOptions
from jobs.progress import Progress, SilentProgress
from jobs.weights import find_stored_weights


class FusedPair(BaseModel):
    """Result of `irfuse fuse`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    output: str
    """Location of the fused image."""
    method: str
    """Method that fused it."""
    trained: bool | None
    """False for random weights; None for a method without weights."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    resized: str | None
    """Source that was resized, and its size before, such as `visible 1280x960`."""
    seconds: float
    """Time that fusing took, without loading and scoring."""
    scores: dict[str, float | None] | None
    """Metric name to value, None where undefined; None if scores were not requested."""


def fuse_pair(options: FuseOptions, progress: Progress | None = None) -> FusedPair:
    """Fuse one pair of image files.

    Args:
        options: Options of the job.
        progress: Receives messages; silent by default.

    Raises:
        InvalidValueError: The method, a parameter, a metric or the ending of the output is unknown,
            the output exists, or a source is a folder.
        ImageDecodeError: A source is not a readable image.
        PairMismatchError: The sources differ in size.
        WeightsError: The weights are missing, damaged or of another network.
        StorageError: A location cannot be read or written.
    """
    progress = progress or SilentProgress()
    encode = image_encoder(options.output)
    method = find_method(options.method, options.trust_code)
    parameters = method.spec.parameters.parse(options.params)
    scored = options.show_scores or options.metrics is not None
    choose_metrics(options.metrics)  # reports unknown names before the work
    out, name = options.file(options.output)
    _check_output(options, out, name)
    check_source_count(method.name, method.spec, 2 + len(options.further_source))
    ir, vis, *further = (
        to_eight_bit(image, parameters.sixteen_bit) for image in _read_sources(options)
    )
    ir, vis, resized = to_one_size(ir, vis, options.resize)
    check_registered(ir, vis, dict(zip(FURTHER_SOURCES, further, strict=False)))
    weights = find_stored_weights(method.spec, options, parameters, progress)
    device = str(find_device(options.device))
    progress.message(f"Fusing with {method.name}")
    fuse_batch = build_method(method.spec, parameters, weights, device)
    started = time.perf_counter()
    channels = method.spec.channels
    fused = fuse_images(fuse_batch, [ir], [vis], parameters, device, channels, [further])[0]
    seconds = time.perf_counter() - started
    _write(options, out, name, encode(fused))
    scores = None
    if scored:
        progress.message("Scoring")
        with announced_compilation(progress.message):
            scores = score(ir, vis, fused, metrics=options.metrics, device=device)
    return FusedPair(
        output=out.uri(name),
        method=method.name,
        trained=None if weights is None else weights.trained,
        width=fused.shape[1],
        height=fused.shape[0],
        resized=resized,
        seconds=seconds,
        scores=scores,
    )


def _check_output(options: FuseOptions, out: Store, name: str) -> None:
    sources = (options.ir, options.vis, *options.further_source)
    if _place(out, name) in (_place(*options.file(source)) for source in sources):
        raise InvalidValueError("The output is one of the sources; give it another name")
    if not options.overwrite and out.exists(name):
        raise InvalidValueError(f"{redact(out.uri(name))} exists; --overwrite replaces it")


def _place(folder: Store, name: str) -> str:
    """Return the location of a file, which is one for all ways to write it."""
    return os.path.join(os.path.realpath(folder.url), name) if folder.is_local else folder.uri(name)


def _write(options: FuseOptions, out: Store, name: str, data: bytes) -> None:
    if options.overwrite:
        out.write(name, data)
    elif not out.create(name, data):
        raise InvalidValueError(
            f"{redact(out.uri(name))} was created meanwhile; --overwrite replaces it"
        )


def _read_sources(options: FuseOptions) -> Sequence[Pixels]:
    """Read all sources; one file may hold the first two."""
    ir = _read(options, options.ir)
    vis = None if options.vis == options.ir else _read(options, options.vis)
    limit = options.max_pixels
    further = [
        decode_named(name, _read(options, location), max_pixels=limit)
        for name, location in zip(FURTHER_SOURCES, options.further_source, strict=False)
    ]
    return [*decode_pair(ir, vis, options.bands, max_pixels=limit), *further]


def _read(options: FuseOptions, location: str) -> bytes:
    try:
        return Reader(options.storage_options, max_pixels=options.max_pixels).read(location)
    except StorageError:
        if not _is_folder(options, location):
            raise
    raise InvalidValueError(
        f"{redact(location)} is a folder; `irfuse run SOURCE --out OUT` fuses collections, where "
        "SOURCE is the folder that contains the infrared and the visible folder"
    )


def _is_folder(options: FuseOptions, location: str) -> bool:
    try:
        store = options.store(location)
        return os.path.isdir(store.path("")) if store.is_local else bool(store.entries())
    except StorageError:
        return False
