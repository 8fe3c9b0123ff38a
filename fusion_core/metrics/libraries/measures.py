"""The measures of pyiqa and torchmetrics that are offered as metrics, without importing either."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fusion_core.deferred import Deferred
from fusion_core.metrics.metric import Metric
from fusion_core.papers import Paper

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_core.metrics.base import ScoredBatch

Library = Literal["pyiqa", "torchmetrics"]
LIBRARIES: tuple[Library, ...] = ("pyiqa", "torchmetrics")

_score = Deferred("fusion_core.metrics.libraries.scoring:score_measure")


@dataclass(frozen=True)
class Measure:
    """A measure of a library; called with a batch, it computes the metric."""

    library: Library
    name: str
    """Its name in the library."""
    compares: bool
    """Whether it compares the fused image with each source, or looks at the fused image alone."""
    higher_is_better: bool

    @property
    def requested(self) -> str:
        """The name by which `--metrics` takes it, such as `pyiqa:lpips`."""
        return f"{self.library}:{self.name}"

    @property
    def column(self) -> str:
        """The name of its column, such as `pyiqa_lpips`, which SQL takes without quotes."""
        return _column(self.library, self.name)

    def __call__(self, batch: ScoredBatch) -> Tensor:
        """Compute the metric of a batch, `(B,)`."""
        found: Tensor = _score(self, batch)
        return found


def _column(library: str, measure: str) -> str:
    return f"{library}_{measure.replace('+', '_plus').replace('-', '_')}"


_PAPERS: dict[Library, Paper] = {
    "pyiqa": Paper(
        authors="Chen & Mo",
        title="IQA-PyTorch: PyTorch toolbox for image quality assessment",
        venue="GitHub",
        year=2022,
        link="https://github.com/chaofengc/IQA-PyTorch",
    ),
    "torchmetrics": Paper(
        authors="Detlefsen et al.",
        title="TorchMetrics: Measuring reproducibility in PyTorch",
        venue="Journal of Open Source Software",
        year=2022,
        link="https://doi.org/10.21105/joss.04101",
    ),
}

_NAMES: dict[tuple[Library, bool, bool], str] = {
    # Library, whether the measure compares with the sources, and whether a higher value is better.
    # Measures of sets of images or of texts are left out.
    ("pyiqa", True, True): """
        ahiq ckdn cw_ssim dmm fsim ms_ssim psnr psnry ssim ssimc topiq_fr topiq_fr-pipal vif vsi
        wadiqam_fr
    """,
    ("pyiqa", True, False): """
        afine_fr deepdc dists gmsd lpips lpips+ lpips-vgg lpips-vgg+ mad msswd nlpd pieapp stlpips
        stlpips-vgg
    """,
    ("pyiqa", False, True): """
        arniqa arniqa-clive arniqa-csiq arniqa-flive arniqa-kadid arniqa-live arniqa-spaq arniqa-tid
        clipiqa clipiqa+ clipiqa+_rn50_512 clipiqa+_vitL14_512 cnniqa compare2score dbcnn entropy
        fgresq hyperiqa laion_aes liqe liqe_mix maclip maniqa maniqa-kadid maniqa-pipal metaiqa
        musiq musiq-ava musiq-paq2piq musiq-spaq nima nima-koniq nima-spaq nima-vgg16-ava nrqm
        paq2piq qalign qalign_4bit qalign_8bit qrealign qrealign-lite qrealign-mini qrealign-pro
        qualiclip qualiclip+ qualiclip+-clive qualiclip+-flive qualiclip+-spaq topiq_iaa
        topiq_iaa_res50 topiq_nr topiq_nr-flive topiq_nr-spaq tres tres-flive unique uranker
        wadiqam_nr
    """,
    ("pyiqa", False, False): """
        afine_nr brisque brisque_matlab ilniqe niqe niqe_matlab pi piqe
    """,
    ("torchmetrics", True, True): "ms_ssim psnr psnrb scc ssim uqi vif",
    ("torchmetrics", True, False): "dists ergas lpips rase rmse_sw",
    ("torchmetrics", False, True): "arniqa clip_iqa",
}


def _measures() -> Iterator[Measure]:
    for (library, compares, higher), names in _NAMES.items():
        for name in names.split():
            yield Measure(library, name, compares, higher)


def _to_metric(measure: Measure) -> Metric:
    what = "mean over both sources" if measure.compares else "of the fused image alone"
    return Metric(
        name=measure.column,
        title=f"{measure.name} of {measure.library}, {what}",
        score_batch=measure,
        higher_is_better=measure.higher_is_better,
        range=f"that of {measure.requested}",
        unit="1",
        paper=_PAPERS[measure.library],
        undefined=f"{measure.requested} returned no finite number",
        library=measure.library,
    )


MEASURES: dict[str, Measure] = {measure.column: measure for measure in _measures()}
"""By the names of their columns."""
LIBRARY_METRICS: dict[str, Metric] = {
    column: _to_metric(measure) for column, measure in MEASURES.items()
}
"""The same as metrics."""


def column_of(name: str) -> str:
    """Return the column of a measure that is named as `pyiqa:lpips`, and other names unchanged.

    >>> column_of("pyiqa:clipiqa+")
    'pyiqa_clipiqa_plus'
    >>> column_of("SSIM_a")
    'SSIM_a'
    """
    library, colon, measure = name.partition(":")
    return _column(library, measure) if colon and library in LIBRARIES else name


def is_measure(name: str) -> bool:
    """Whether a name is that of a measure, or begins like one, which may not exist."""
    return column_of(name) != name or name in MEASURES


def measures_among(metrics: Iterable[str]) -> list[Measure]:
    """Return the measures among metrics, which are named by their columns."""
    return [MEASURES[name] for name in metrics if name in MEASURES]
