"""The registry of fusion methods: one entry per method."""

from __future__ import annotations

from fusion_core.errors import InvalidValueError
from fusion_core.methods.average import build_average
from fusion_core.methods.base import (
    AutoencoderWeights,
    ImageNetWeights,
    MethodSpec,
    NoWeights,
)
from fusion_core.methods.densefuse import DenseFuseParameters, build_densefuse
from fusion_core.methods.res2netfuse import Res2NetFuseParameters, build_res2netfuse
from fusion_core.methods.resnet152 import Resnet152Parameters, build_resnet152, resnet152_layers
from fusion_core.methods.resnet_zca import ResnetZcaParameters, build_resnet_zca, zca_layers
from fusion_core.methods.vgg_multilayer import (
    VggMultilayerParameters,
    build_vgg_multilayer,
    vgg_layers,
)
from fusion_core.papers import Paper
from fusion_core.parameters import MethodParameters
from fusion_core.suggestions import unknown_name

METHODS: dict[str, MethodSpec] = {
    "densefuse": MethodSpec(
        title="DenseFuse autoencoder",
        paper=Paper(
            authors="Li & Wu",
            title="DenseFuse: A Fusion Approach to Infrared and Visible Images",
            venue="IEEE Transactions on Image Processing",
            year=2019,
            link="https://doi.org/10.1109/TIP.2018.2887342",
        ),
        parameters=DenseFuseParameters,
        weights=AutoencoderWeights(
            tensors="c1, dc1, dc2, dc3, c2, c3, c4, c5",
            bundled=lambda parameters: "densefuse",
        ),
        build=build_densefuse,
        variants=({"strategy": "addition"}, {"strategy": "l1_norm"}),
    ),
    "vgg_multilayer": MethodSpec(
        title="VGG-19 multi-layer features",
        paper=Paper(
            authors="Li, Wu & Kittler",
            title="Infrared and Visible Image Fusion using a Deep Learning Framework",
            venue="International Conference on Pattern Recognition (ICPR)",
            year=2018,
            link="https://doi.org/10.1109/ICPR.2018.8546006",
        ),
        parameters=VggMultilayerParameters,
        weights=ImageNetWeights(vgg_layers),
        build=build_vgg_multilayer,
    ),
    "resnet_zca": MethodSpec(
        title="ResNet features and zero-phase component analysis",
        paper=Paper(
            authors="Li, Wu & Durrani",
            title=(
                "Infrared and visible image fusion with ResNet and zero-phase component analysis"
            ),
            venue="Infrared Physics & Technology",
            year=2019,
            link="https://doi.org/10.1016/j.infrared.2019.103039",
        ),
        parameters=ResnetZcaParameters,
        weights=ImageNetWeights(zca_layers),
        build=build_resnet_zca,
        variants=(
            {"layer": "conv4", "norm": "l1"},
            {"layer": "conv4", "norm": "l2"},
            {"layer": "conv4", "norm": "nuclear"},
            {"layer": "conv5", "norm": "l1"},
        ),
    ),
    "resnet152": MethodSpec(
        title="ResNet-152 features of the detail",
        paper=Paper(
            authors="Zhang, Li, Zhu & Du",
            title="An infrared and visible image fusion algorithm based on ResNet-152",
            venue="Multimedia Tools and Applications",
            year=2022,
            link="https://doi.org/10.1007/s11042-021-11549-w",
        ),
        parameters=Resnet152Parameters,
        weights=ImageNetWeights(resnet152_layers),
        build=build_resnet152,
    ),
    "res2netfuse": MethodSpec(
        title="Res2NetFuse autoencoder",
        paper=Paper(
            authors="Song, Wu, Li, Sun & Palade",
            title="Res2NetFuse: A Fusion Method for Infrared and Visible Images",
            venue="arXiv preprint",
            year=2021,
            link="https://arxiv.org/abs/2112.14540",
        ),
        parameters=Res2NetFuseParameters,
        weights=AutoencoderWeights(
            tensors="c1, c2, r1, split, r2, d1, d2, d3, d4",
            bundled=lambda parameters: (
                "res2netfuse" if parameters.convolutions == "shared" else None
            ),
        ),
        build=build_res2netfuse,
        variants=({"strategy": "mean"}, {"strategy": "l1_norm"}),
    ),
    "average": MethodSpec(
        title="Mean of the sources",
        parameters=MethodParameters,
        weights=NoWeights(),
        build=build_average,
    ),
}


def list_methods() -> list[str]:
    """Return the names of all fusion methods.

    >>> "densefuse" in list_methods()
    True
    """
    return list(METHODS)


def get_method(name: str) -> MethodSpec:
    """Return the description of a fusion method.

    Raises:
        InvalidValueError: The method is unknown; the message suggests similar names.

    >>> get_method("densefuse").paper.link
    'https://doi.org/10.1109/TIP.2018.2887342'
    """
    if name not in METHODS:
        raise InvalidValueError(unknown_name("method", name, METHODS))
    return METHODS[name]
