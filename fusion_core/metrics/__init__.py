"""The quality metrics of fused images.

Each metric is a function of three images, such as `information.entropy`; `METRICS` describes all of
them under the names of their columns, and `scoring` computes several at once.
"""

from fusion_core.metrics.registry import METRICS, list_metrics, select_metrics

__all__ = ["METRICS", "list_metrics", "select_metrics"]
