"""Options of the catalogues of methods, metrics and weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from jobs.options.common import Json


class _CatalogueOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    json_output: Json = False
    """Print JSON instead of the table."""


class MethodsOptions(_CatalogueOptions):
    """List the fusion methods, or describe one with its paper, weights and parameters."""

    name: str | None = None
    """Method to describe, also one of your own as FILE.py:NAME or MODULE:NAME; by default those of
    irfuse and of installed packages are listed."""
    trust_code: str | None = None
    """First digits of the SHA-256 of a model file (.pt2, .pt), which executes code when it is
    loaded; `sha256sum FILE` prints it."""


class MetricsOptions(_CatalogueOptions):
    """List the metrics, describe one or a preset, or find the metric that has a published value."""

    names: tuple[str, ...] = ()
    """Metric or preset to describe, or `pyiqa` or `torchmetrics` to list their measures; all
    metrics of irfuse are listed by default. With --identify: the infrared, visible and fused image
    of the published value (local paths, s3://, gs://)."""
    identify: str | None = None
    """Published value as NAME=VALUE with all its digits, such as PSNR=67.85. The metrics and
    dialects that are printed under that name are computed, and those with this value are shown."""


class WeightsOptions(_CatalogueOptions):
    """List the weights that irfuse includes or that torchvision publishes, and verify them.

    The digest of every file that is on this machine is compared with the published one.
    """

    name: str | None = None
    """Weights to describe; all are listed by default."""
