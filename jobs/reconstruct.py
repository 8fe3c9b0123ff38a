"""Reconstruction quality of a trained autoencoder (Song et al., Res2NetFuse, Table III)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cluster.collections import is_image
from cluster.storage import Store, read_gray
from fusion_core.choices import DEFAULT_MAX_PIXELS
from fusion_core.errors import (
    ImageDecodeError,
    InvalidValueError,
    NotFoundError,
    StorageError,
)
from fusion_core.methods import get_method, require_weights
from fusion_core.metrics import RECONSTRUCTION_METRICS
from fusion_core.networks import Weights
from fusion_core.training import load_autoencoder, reconstruct_image
from jobs.options import ReconstructOptions
from jobs.progress import Progress, SilentProgress
from jobs.weights import find_stored_weights

_SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("method", pa.string()),
        ("weights", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        *((name, pa.float64()) for name in RECONSTRUCTION_METRICS),
    ]
)


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

    Writes one row per image, in the order of the names.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A parameter is unknown, or the output does not end in .parquet.
        WeightsError: The weights are missing, damaged or of another network.
        NotFoundError: The folder contains no images.
        StorageError: The folder cannot be listed, or the output cannot be written.
    """
    method, output = options.method, options.output
    if not output.endswith(".parquet"):
        raise InvalidValueError(f"Expected an output that ends in .parquet, but got {output}")
    progress = progress or SilentProgress()
    parameters = get_method(method).parameters.parse(options.params)
    found = require_weights(method, find_stored_weights(options, parameters, progress))
    network = load_autoencoder(method, found, getattr(parameters, "convolutions", "shared"))
    store = options.store(options.images)
    keys = [entry.key for entry in store.entries() if is_image(entry.key)]
    if not keys:
        raise NotFoundError(f"There are no images in {store.url}")
    rows = []
    for number, key in enumerate(keys, start=1):
        rows.append(_row(store, key, network, method, found))
        progress.steps(number, len(keys), "")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), sink)
    target, key = options.file(output)
    target.write(key, sink.getvalue().to_pybytes())
    good = [row for row in rows if row["status"] == "ok"]
    return ReconstructionReport(
        method=method,
        weights=found.sha256,
        trained=found.trained,
        images=len(rows),
        failed=len(rows) - len(good),
        metrics={name: _spread([row[name] for row in good]) for name in RECONSTRUCTION_METRICS}
        if good
        else {},
        output=output,
    )


def _row(
    store: Store, key: str, network: torch.nn.Module, method: str, weights: Weights
) -> dict[str, Any]:
    row: dict[str, Any] = {"image": key, "method": method, "weights": weights.sha256}
    try:
        image = read_gray(store, key, DEFAULT_MAX_PIXELS)
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
