"""The fusion methods: one module each, described in the registry `METHODS`.

`README.md` in this folder lists the methods and explains how to add one.
"""

from fusion_core.methods.base import FuseBatch, MethodSpec
from fusion_core.methods.loading import (
    build_method,
    describe_weights,
    find_weights,
    require_weights,
)
from fusion_core.methods.registry import METHODS, get_method, list_methods

__all__ = [
    "METHODS",
    "FuseBatch",
    "MethodSpec",
    "build_method",
    "describe_weights",
    "find_weights",
    "get_method",
    "list_methods",
    "require_weights",
]
