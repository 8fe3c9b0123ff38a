"""What JPEG changes of fused images, since their scores are those of lossless ones."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from cluster.runs import Gallery, Ledger, RunRecord
from cluster.runs.origins import EightBit
from cluster.storage import Store
from jobs.export.reading import encode_jpeg
from jobs.preview import spread_choices

SAMPLED_PAIRS = 8


class JpegLoss(BaseModel):
    """The differences between JPEG and lossless images, over some pairs."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    pairs: int
    """Number of pairs that were compared."""
    psnr: float
    """Mean PSNR in dB."""
    lowest_psnr: float
    """Lowest PSNR in dB."""
    scores: dict[str, float]
    """Mean change of each metric; without those of the user's own, of other libraries, and of
    pairs whose sources cannot be read."""


def measure_loss(run: Store, record: RunRecord, quality: int) -> JpegLoss | None:
    """Compare JPEG with the images of some pairs; None if none of them can be read.

    Raises:
        StorageError: A shard is damaged or cannot be read.
    """
    # Imported here because they import torch, which other exports do not need.
    from fusion_core.api import score
    from fusion_core.metrics import list_metrics

    gallery = Gallery(run, record, whole=True)
    chosen = spread_choices(gallery, record, Ledger(run, record).listing().shards, SAMPLED_PAIRS)
    names = [n for n in record.metrics if n in list_metrics() and n not in record.channels]
    ratios: list[float] = []
    changes: dict[str, list[float]] = {name: [] for name in names}
    for choice in chosen:
        view = gallery.view(choice.position)
        if isinstance(view.fused, str):
            continue
        lossy = _decode(encode_jpeg(Image.fromarray(view.fused), quality))
        ratios.append(_psnr(view.fused, lossy))
        if isinstance(view.ir, str) or isinstance(view.vis, str):
            continue
        if view.ir.shape[:2] != lossy.shape[:2] or view.vis.shape[:2] != lossy.shape[:2]:
            continue  # sources that --resize has brought to one size
        before = score(view.ir, view.vis, view.fused, metrics=names)
        after = score(view.ir, view.vis, lossy, metrics=names)
        for name, values in changes.items():
            old, new = before.get(name), after.get(name)
            if old is not None and new is not None:
                values.append(new - old)
    if not ratios:
        return None
    means = {name: float(np.mean(values)) for name, values in changes.items() if values}
    return JpegLoss(
        pairs=len(ratios), psnr=float(np.mean(ratios)), lowest_psnr=min(ratios), scores=means
    )


def _decode(data: bytes) -> EightBit:
    return np.asarray(Image.open(io.BytesIO(data)))


def _psnr(image: EightBit, other: EightBit) -> float:
    error = float(np.mean((image.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf
