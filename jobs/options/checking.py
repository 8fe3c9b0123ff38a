"""Options of the checks of methods and metrics of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from fusion_core.choices import Device
from jobs.options.common import Flag, ImageOptions, Json, KeyValues


class _CheckOptions(ImageOptions):
    pairs: str | None = None
    """Folder of pairs, or a manifest, whose first pairs are used as examples."""
    limit: int = Field(default=32, ge=1)
    """Largest number of these pairs."""
    device: Device = "cpu"
    """Device to compute on; `auto` uses a GPU if there is one."""
    timeout: float = Field(default=300.0, gt=0)
    """Seconds without an answer after which the code is considered hung."""
    json_output: Json = False
    """Print JSON instead of text."""


class CheckMethodOptions(_CheckOptions):
    """Check a fusion method of your own before a run: sizes, values, batches, state, speed.

    Prints a line per check with what was found and the remedy. The code runs in processes of its
    own. Ends with status 1 if a check failed, and 2 if the method cannot be loaded.
    """

    target: str
    """Method: FILE.py:NAME, MODULE:NAME, or a name that `irfuse methods` lists."""
    params: Annotated[KeyValues, Parameter(name="--param")] = Field(default_factory=dict)
    """Parameter of the method as NAME=VALUE, repeated for each."""
    weights: str | Path | None = None
    """Weight file (path or URL) or random:SEED."""
    trust_code: str | None = None
    """First digits of the SHA-256 of a model file (.pt2, .pt), which executes code when it is
    loaded; `sha256sum FILE` prints it."""
    expect: str | None = None
    """Folder of fused images that your own program made of the pairs of --pairs."""
    tolerance: float = Field(default=1.0, ge=0)
    """Largest accepted mean difference from an image of --expect in gray levels."""
    quick: Flag = False
    """Leave out what takes long: large images, tiles and memory."""


class CheckMetricOptions(_CheckOptions):
    """Check a metric of your own before a run: range, NaN, batches, overflows, state, speed.

    Prints a line per check with what was found and the remedy. The code runs in processes of its
    own. Ends with status 1 if a check failed, and 2 if the metric cannot be loaded.
    """

    target: str
    """Metric: FILE.py:NAME, MODULE:NAME, or a name that `irfuse metrics` lists."""
    fused: str | None = None
    """Folder of the fused images of the pairs of --pairs."""
    expect: str | None = None
    """Known scores of these images: CSV with the columns pair_id and the name of the metric."""
