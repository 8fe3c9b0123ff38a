"""Every fusion metric in plain NumPy, straight from its definition, one gray pair at a time.

These functions are the auditable definition of what irfuse scores, and the baseline of
`irfuse bench metrics`. They use no filtering library and share no code with the fast metrics.
"""

from __future__ import annotations

from collections.abc import Callable

from fusion_core.metrics.reference.arrays import Gray
from fusion_core.metrics.reference.edges import epi_a, nabf, qabf
from fusion_core.metrics.reference.feature_mi import fmi_dct, fmi_pixel, fmi_w
from fusion_core.metrics.reference.mef_ssim import ms_ssim
from fusion_core.metrics.reference.simple import en, mi, mi_as_published, scd, ssim_a

REFERENCE_METRICS: dict[str, Callable[[Gray, Gray, Gray], float]] = {
    "EN": en,
    "MI": mi,
    "MI_as_published": mi_as_published,
    "Qabf": qabf,
    "FMI_pixel": fmi_pixel,
    "FMI_dct": fmi_dct,
    "FMI_w": fmi_w,
    "Nabf": nabf,
    "SCD": scd,
    "SSIM_a": ssim_a,
    "MS_SSIM": ms_ssim,
    "EPI_a": epi_a,
}
