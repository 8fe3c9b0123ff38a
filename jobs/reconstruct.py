"""Reconstruction quality of a trained autoencoder (Song et al., Res2NetFuse, Table III)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cluster.storage import Store, read_gray
from cluster.training import ReconstructionRecord, ReconstructionTable, Row
from fusion_core.choices import ResidualConvolutions
from fusion_core.errors import (
    ImageDecodeError,
    InvalidValueError,
    StorageError,
)
from fusion_core.methods import get_method, require_weights
from fusion_core.metrics import RECONSTRUCTION_METRICS
from fusion_core.networks import Weights
from fusion_core.training import Reconstruction, load_autoencoder, reconstruct_image
from jobs.image_folders import list_images
from jobs.options import ReconstructOptions
from jobs.progress import Progress, SilentProgress
from jobs.weights import find_stored_weights


class Spread(BaseModel):
    """Statistics of one metric over all images."""

    model_config = ConfigDict(frozen=True)

    mean: float
    min: float
    max: float


class ReconstructionReport(BaseModel):
    """Result of `irfuse reconstruct`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    method: str
    """Method whose autoencoder was measured."""
    weights: str
    """SHA-256 of the weights, or `random:SEED`."""
    trained: bool
    """Whether the weights are trained."""
    images: int
    """Number of images."""
    computed: int
    """Number of images that were computed by this call; the others had been computed before."""
    failed: int
    """Number of images that could not be read."""
    metrics: dict[str, Spread]
    """Statistics over the other images."""
    output: str
    """Location of the rows."""


def reconstruct(
    options: ReconstructOptions, progress: Progress | None = None
) -> ReconstructionReport:
    """Measure how well the autoencoder of METHOD reconstructs images: SSIM, PSNR and MSE.

    Writes one row per image, in the order of the names. The rows are saved while they are computed;
    the same call continues after an interruption and computes failed images again.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A parameter is unknown, the device does not exist, or the output does not
            end in .parquet.
        RunConflictError: The output contains rows that were computed with other settings.
        WeightsError: The weights are missing, damaged or of another network.
        NotFoundError: The folder contains no images.
        StorageError: The folder cannot be listed, or the output cannot be read or written.
    """
    method, output = options.method, options.output
    if not output.endswith(".parquet"):
        raise InvalidValueError(f"Expected an output that ends in .parquet, but got {output}")
    progress = progress or SilentProgress()
    spec = get_method(method)
    parameters = spec.parameters.parse(options.params)
    weights = require_weights(method, find_stored_weights(spec, options, parameters, progress))
    convolutions: ResidualConvolutions = getattr(parameters, "convolutions", "shared")
    network = load_autoencoder(method, weights, convolutions, options.device)
    store = options.store(options.images)
    keys = [entry.key for entry in list_images(store, progress)]
    record = ReconstructionRecord(
        method=method,
        weights_sha256=weights.sha256,
        parameters=parameters.model_dump(mode="json"),
        images=store.url,
        max_pixels=options.max_pixels,
        irfuse_version=version("irfuse"),
        torch_version=torch.__version__,
    )
    with ReconstructionTable(*options.file(output), record) as table:
        missing = table.missing(keys)
        for number, key in enumerate(missing, start=len(keys) - len(missing) + 1):
            table.add(_row(store, key, network, record))
            progress.steps(number, len(keys), "")
        rows = table.publish(keys)
    return _report(rows, weights, output=output, method=method, computed=len(missing))


def _report(
    rows: Sequence[Row], weights: Weights, *, output: str, method: str, computed: int
) -> ReconstructionReport:
    good = [row for row in rows if row["status"] == "ok"]
    names = RECONSTRUCTION_METRICS if good else ()
    return ReconstructionReport(
        method=method,
        weights=weights.sha256,
        trained=weights.trained,
        images=len(rows),
        computed=computed,
        failed=len(rows) - len(good),
        metrics={name: _spread([row[name] for row in good]) for name in names},
        output=output,
    )


def _row(store: Store, key: str, network: Reconstruction, record: ReconstructionRecord) -> Row:
    row: Row = {"image": key, "method": record.method, "weights": record.weights_sha256}
    try:
        image = read_gray(store, key, record.max_pixels)
    except (StorageError, ImageDecodeError) as error:
        return {**row, "status": "failed", "error_message": str(error)}
    height, width = image.shape
    values = _measure(reconstruct_image(network, image), image)
    return {**row, "width": width, "height": height, "status": "ok", **values}


def _measure(
    reconstruction: NDArray[np.uint8], original: NDArray[np.uint8]
) -> dict[str, float | None]:
    """Compute the metrics; undefined ones are None."""
    pair = [torch.tensor(image)[None, None] for image in (reconstruction, original)]
    values = {name: metric(*pair).item() for name, metric in RECONSTRUCTION_METRICS.items()}
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def _spread(values: list[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    if not known:
        return Spread(mean=float("nan"), min=float("nan"), max=float("nan"))
    return Spread(mean=float(np.mean(known)), min=min(known), max=max(known))
