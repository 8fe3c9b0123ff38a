"""Presets: sets of metrics under one name, such as those that a published program prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fusion_core.choices import Channels, ScoreColour
from fusion_core.errors import InvalidValueError
from fusion_core.metrics.libraries.measures import LIBRARY_METRICS, MEASURES, column_of
from fusion_core.metrics.registry import METRICS, find_metric
from fusion_core.suggestions import unknown_name

_LUMA = "Colour images are scored on their luma."


@dataclass(frozen=True)
class Preset:
    """A set of metrics that is requested by one name."""

    name: str
    title: str
    """Meaning in a few words."""
    columns: dict[str, str]
    """Name of each metric, in the order of the columns, and the program's own name of it."""
    colour: str = _LUMA
    """How the program treats colour images."""
    channels: Channels = "luma"
    """What the program computes metrics of colour images of."""
    other_channels: dict[str, Channels] = field(default_factory=dict)
    """The metrics that it computes of something else."""
    link: str = ""
    """URL of the program; empty if the set is not one's."""


def _own_names(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="default",
            title="The metrics that are computed by default",
            columns=_own_names(
                (
                    "EN", "MI", "MI_as_published", "Qabf", "FMI_pixel", "FMI_dct", "FMI_w", "Nabf",
                    "SCD", "SSIM_a", "MS_SSIM", "EPI_a", "SD",
                )
            ),
        ),
        Preset(
            name="all",
            title="All metrics without dialects",
            columns=_own_names(name for name, metric in METRICS.items() if metric.is_plain),
        ),
        Preset(
            name="li-wu",
            title="The tables of Li, Wu and co-authors, such as those of DenseFuse",
            columns={
                "EN": "EN", "MI_as_published": "MI", "Qabf": "Qabf", "FMI_pixel": "FMI_pixel",
                "FMI_dct": "FMI_dct", "FMI_w": "FMI_w", "Nabf": "Nabf", "SCD": "SCD",
                "SSIM_a": "SSIM_a", "MS_SSIM": "MS_SSIM", "EPI_a": "EPI_a",
            },
            colour="The program takes gray images only.",
            link="https://github.com/hli1221/imagefusion_densefuse",
        ),
        Preset(
            name="vifb",
            title="VIFB, the visible and infrared image fusion benchmark",
            columns={
                "AG": "AG", "CE": "CE", "EI": "EI", "EN": "EN", "MI_vifb": "MI",
                "PSNR_vifb": "PSNR", "Qabf_vifb": "Qabf", "Qcb": "Qcb", "Qcv": "Qcv",
                "RMSE_vifb": "RMSE", "SF_vifb": "SF", "SSIM_vifb": "SSIM", "SD": "Variance",
            },
            colour=(
                "The program computes metrics of each channel, with a gray infrared image for "
                "every channel, and prints their mean; SF is of the channels side by side."
            ),
            channels="per_channel",
            other_channels={"SF_vifb": "side_by_side"},
            link="https://github.com/xingchenzhang/VIFB",
        ),
        Preset(
            name="mefb",
            title="MEFB, the multi-exposure image fusion benchmark",
            columns={
                "CE": "CE", "EN": "EN", "FMI_pixel": "FMI", "NMI": "NMI", "PSNR_vifb": "PSNR",
                "Qncie": "Qncie", "TE_mefb": "TE", "AG": "AG", "EI": "EI", "Qabf_vifb": "Qabf",
                "Qp": "Qp", "SD": "SD", "SF_vifb": "SF", "Qc_mefb": "Qc", "Qw_mefb": "Qw",
                "Qy": "Qy", "MS_SSIM": "MEF_SSIM", "Qcb": "Qcb", "Qcv": "Qcv", "VIFF": "VIF",
            },
            colour=(
                "The program computes metrics of each channel and prints their mean; MEF_SSIM is "
                "of the luma."
            ),
            channels="per_channel",
            other_channels={"MS_SSIM": "luma"},
            link="https://github.com/xingchenzhang/MEFB",
        ),
        Preset(
            name="tang",
            title="Tang's evaluation programs, such as those of SeAFusion",
            columns={
                "EN": "EN", "SF": "SF", "SD": "SD", "PSNR_tang": "PSNR", "MSE": "MSE",
                "MI_tang": "MI", "VIF": "VIF", "AG": "AG", "CC": "CC", "SCD": "SCD",
                "Qabf_255": "Qabf",
            },
            colour="The program computes metrics of the luma.",
            link="https://github.com/Linfeng-Tang/Evaluation-for-Image-Fusion",
        ),
        Preset(
            name="cddfuse",
            title="The evaluation of CDDFuse",
            columns={
                "EN": "EN", "SD": "SD", "SF": "SF", "MI_cddfuse": "MI", "SCD": "SCD",
                "VIF": "VIF", "Qabf_255": "Qabf", "SSIM_cddfuse": "SSIM", "AG_cddfuse": "AG",
                "CC": "CC", "MSE_cddfuse": "MSE", "PSNR_cddfuse": "PSNR",
            },
            colour="The program computes metrics of the luma.",
            link="https://github.com/Zhaozixiang1228/MMIF-CDDFuse",
        ),
    )
}  # fmt: skip


def select_metrics(names: Sequence[str] | None = None, *, reference: bool = False) -> list[str]:
    """Return the names of metrics in the order of their columns.

    Args:
        names: Names of metrics and presets, in any order, and of measures of other libraries such
            as `pyiqa:lpips`; `default` by default.
        reference: Whether there are reference images; the metrics against them then come last.

    Returns:
        Each metric once: those of presets in the order of each preset, then the others in the order
        of `METRICS`, then the columns of measures of other libraries.

    Raises:
        InvalidValueError: A name is neither that of a metric nor that of a preset, or is that of a
            metric against reference images, and there are none.
    """
    requested = ["default"] if names is None else [column_of(name) for name in names]
    against = [name for name, metric in METRICS.items() if metric.needs_reference]
    if not reference and (without := [name for name in requested if name in against]):
        raise InvalidValueError(
            f"{without[0]} compares with a reference image: give --reference, or reference images"
        )
    for name, column in zip(names or (), requested, strict=False):
        if find_metric(column) is None and column not in PRESETS:
            raise InvalidValueError(_unknown_metric(name))
    presets = [name for name in requested if name in PRESETS]
    columns = [column for preset in presets for column in PRESETS[preset].columns]
    single = [name for name in METRICS if name in requested]
    measures = [name for name in requested if name in LIBRARY_METRICS]
    return list(dict.fromkeys([*columns, *single, *measures, *(against if reference else ())]))


def _unknown_metric(name: str) -> str:
    """Return the message for an unknown metric, with similar names."""
    library = name.partition(":")[0]
    measures = [m.requested for m in MEASURES.values() if m.library == library]
    return unknown_name("metric", name, measures or [*METRICS, *PRESETS])


def select_channels(
    names: Sequence[str] | None, colour: ScoreColour, *, reference: bool = False
) -> dict[str, Channels]:
    """Return what the metrics of colour images are computed of.

    Args:
        names: Names of metrics and presets, as in `select_metrics`.
        colour: The luma, each channel, or what the program of each preset does; single metrics are
            then computed of the luma, and measures of other libraries of RGB.
        reference: Whether there are reference images.

    Returns:
        The metrics that are computed of something else than the luma.

    Raises:
        InvalidValueError: A name is unknown, or no preset is that of a program.
    """
    metrics = select_metrics(names, reference=reference)
    if colour == "per_channel":
        return dict.fromkeys(metrics, "per_channel")
    if colour == "luma":
        return {}
    presets = [PRESETS[name] for name in names or () if name in PRESETS and PRESETS[name].link]
    measures = [name for name in metrics if name in LIBRARY_METRICS]
    if not presets and not measures:
        programs = ", ".join(name for name, preset in PRESETS.items() if preset.link)
        raise InvalidValueError(
            f"Expected the preset of a program among the metrics to score colour images as it does "
            f"({programs}), but got {', '.join(names or ['default'])}"
        )
    channels: dict[str, Channels] = dict.fromkeys(measures, "rgb")
    for preset in presets:
        for metric in preset.columns:
            channels.setdefault(metric, preset.other_channels.get(metric, preset.channels))
    return {metric: kind for metric, kind in channels.items() if kind != "luma"}


def metrics_printed_as(name: str) -> set[str]:
    """Return the metrics and dialects that papers and programs print under a name.

    Case, hyphens and the like do not matter. Metrics against reference images are left out.

    >>> sorted(metrics_printed_as("psnr"))
    ['PSNR', 'PSNR_cddfuse', 'PSNR_tang', 'PSNR_vifb']
    >>> sorted(metrics_printed_as("VIF"))
    ['VIF', 'VIFF']
    """
    wanted, start = _letters(name), f"{name.lower().replace('-', '_')}_"
    named = {
        metric
        for metric in METRICS
        if wanted == _letters(metric) or metric.lower().startswith(start)
    }
    for preset in PRESETS.values():
        named |= {
            metric for metric, printed in preset.columns.items() if wanted == _letters(printed)
        }
    origins = {METRICS[metric].dialect_of or metric for metric in named}
    family = named | origins | {n for n, m in METRICS.items() if m.dialect_of in origins}
    return {name for name in family if not METRICS[name].needs_reference}


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
