"""Metrics of the fused image against a reference image."""

from __future__ import annotations

from dataclasses import replace

from fusion_core.deferred import Deferred
from fusion_core.metrics.specs.error import MEAN_SQUARED_ERROR, PEAK_SIGNAL_TO_NOISE
from fusion_core.metrics.specs.perception import VIF
from fusion_core.metrics.specs.structural import SSIM_A
from fusion_core.papers import Paper

_NONE = "the pair has no reference image"

SSIM_REF = replace(
    SSIM_A,
    name="SSIM_ref",
    title="Structural similarity to the reference image",
    score_batch=Deferred("fusion_core.metrics.reference:score_ssim_ref"),
    paper=Paper(
        authors="Wang, Bovik, Sheikh & Simoncelli",
        title="Image quality assessment: From error visibility to structural similarity",
        venue="IEEE TIP",
        year=2004,
        link="https://doi.org/10.1109/TIP.2003.819861",
    ),
    undefined=_NONE,
    needs_reference=True,
)
PSNR_REF = replace(
    PEAK_SIGNAL_TO_NOISE,
    name="PSNR_ref",
    title="Peak signal-to-noise ratio against the reference image",
    score_batch=Deferred("fusion_core.metrics.reference:score_psnr_ref"),
    undefined=f"{_NONE}, or F equals it, so that it is infinite",
    needs_reference=True,
)
MSE_REF = replace(
    MEAN_SQUARED_ERROR,
    name="MSE_ref",
    title="Mean squared error against the reference image on 0..1",
    score_batch=Deferred("fusion_core.metrics.reference:score_mse_ref"),
    undefined=_NONE,
    needs_reference=True,
)
VIF_REF = replace(
    VIF,
    name="VIF_ref",
    title="Visual information fidelity to the reference image",
    score_batch=Deferred("fusion_core.metrics.reference:score_vif_ref"),
    undefined=f"{_NONE}, it is flat, or the image is smaller than 41x41 pixels",
    needs_reference=True,
)
