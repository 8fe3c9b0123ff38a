"""The mean of the sources."""

from __future__ import annotations

from fusion_core.deferred import Deferred
from fusion_core.methods.base import MethodSpec, NoWeights
from fusion_core.parameters import MethodParameters

AVERAGE = MethodSpec(
    title="Mean of the sources",
    parameters=MethodParameters,
    weights=NoWeights(),
    build=Deferred("fusion_core.methods.average:build_average"),
    most_sources=None,
    ms_per_megapixel=1,
)
