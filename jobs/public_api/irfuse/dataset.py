"""Datasets of PyTorch over the fused images of runs."""

import irfuse  # noqa: F401  # finds the packages below
from jobs.dataset import FusedPairs, FusedStream

__all__ = ["FusedPairs", "FusedStream"]
