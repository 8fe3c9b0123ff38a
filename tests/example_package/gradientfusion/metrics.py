"""A metric of the fused image alone."""

from __future__ import annotations

from typing import Any

import irfuse


@irfuse.metric(higher_is_better=True, range=(0, 127.5), unit="gray level", decimals=2)
def contrast(ir: Any, vis: Any, fused: Any) -> float:
    """Contrast of the fused image."""
    return float(fused.std())
