"""The registry of fusion methods: one entry per method."""

from __future__ import annotations

from dataclasses import replace

from fusion_core.errors import InvalidValueError
from fusion_core.methods.base import MethodSpec
from fusion_core.methods.specs.adf import ADF
from fusion_core.methods.specs.average import AVERAGE
from fusion_core.methods.specs.cbf import CBF
from fusion_core.methods.specs.convsr import CONVSR
from fusion_core.methods.specs.dchwt import DCHWT
from fusion_core.methods.specs.deepfuse import DEEPFUSE
from fusion_core.methods.specs.densefuse import DENSEFUSE
from fusion_core.methods.specs.fpde import FPDE
from fusion_core.methods.specs.fusiongan import FUSIONGAN
from fusion_core.methods.specs.gff import GFF
from fusion_core.methods.specs.gtf import GTF
from fusion_core.methods.specs.hmsd_gf import HMSD_GF
from fusion_core.methods.specs.ifevip import IFEVIP
from fusion_core.methods.specs.jsr import JSR, JSRSD
from fusion_core.methods.specs.mgff import MGFF
from fusion_core.methods.specs.msdnet import MSDNET
from fusion_core.methods.specs.res2netfuse import RES2NETFUSE
from fusion_core.methods.specs.resnet152 import RESNET152
from fusion_core.methods.specs.resnet_zca import RESNET_ZCA
from fusion_core.methods.specs.tif import TIF
from fusion_core.methods.specs.vgg_multilayer import VGG_MULTILAYER
from fusion_core.methods.specs.wls import WLS
from fusion_core.suggestions import unknown_name

_SPECS: dict[str, MethodSpec] = {
    "densefuse": DENSEFUSE,
    "vgg_multilayer": VGG_MULTILAYER,
    "resnet_zca": RESNET_ZCA,
    "resnet152": RESNET152,
    "res2netfuse": RES2NETFUSE,
    "deepfuse": DEEPFUSE,
    "msdnet": MSDNET,
    "fusiongan": FUSIONGAN,
    "cbf": CBF,
    "wls": WLS,
    "gtf": GTF,
    "dchwt": DCHWT,
    "adf": ADF,
    "fpde": FPDE,
    "tif": TIF,
    "gff": GFF,
    "mgff": MGFF,
    "hmsd_gf": HMSD_GF,
    "ifevip": IFEVIP,
    "convsr": CONVSR,
    "jsr": JSR,
    "jsrsd": JSRSD,
    "average": AVERAGE,
}
METHODS = {name: replace(spec, name=name) for name, spec in _SPECS.items()}


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
