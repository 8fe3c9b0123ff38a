"""JSR and JSRSD, their parameters and their papers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fusion_core.deferred import Deferred
from fusion_core.methods.base import FileWeights, MethodSpec
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters

Common = Literal["scaled", "published"]


class JsrParameters(MethodParameters):
    """Parameters of JSR."""

    dictionary: Literal["pair", "cosine"] = "pair"
    """Dictionary: `pair` learns one from each pair by K-SVD, as the published code does, unless
    weights give one for all pairs; `cosine` is the overcomplete cosine dictionary, which takes no
    time to learn."""
    common: Common = "scaled"
    """Part that both sources have in common: `published` leaves out its factor 1/sqrt(2), which
    makes images brighter; most published tables and those of JSRSD have it (`scaled`)."""
    iterations: int = Field(default=50, ge=1, le=1000)
    """Iterations of K-SVD."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of K-SVD."""


_DICTIONARY = FileWeights(
    tensors="dictionary of shape (49, 256)", content="dictionary", required=False
)

JSR = MethodSpec(
    title="Joint sparse representation",
    paper=Paper(
        authors="Zhang, Fu, Li & Zou",
        title="Dictionary learning method for joint sparse representation-based image fusion",
        venue="Optical Engineering",
        year=2013,
        link="https://doi.org/10.1117/1.OE.52.5.057006",
    ),
    parameters=JsrParameters,
    weights=_DICTIONARY,
    build=Deferred("fusion_core.methods.jsr:build_jsr"),
    ms_per_megapixel=770000,
    bytes_per_pixel=1200,
    variants=({"dictionary": "cosine"},),
)

JSRSD = MethodSpec(
    title="Joint sparse representation with saliency detection",
    paper=Paper(
        authors="Liu, Qi & Ding",
        title=(
            "Infrared and visible image fusion method based on saliency detection in sparse domain"
        ),
        venue="Infrared Physics & Technology",
        year=2017,
        link="https://doi.org/10.1016/j.infrared.2017.04.018",
    ),
    parameters=JsrParameters,
    weights=_DICTIONARY,
    build=Deferred("fusion_core.methods.jsrsd:build_jsrsd"),
    ms_per_megapixel=800000,
    bytes_per_pixel=2300,
    variants=({"dictionary": "cosine"},),
)
