"""The record of a run: its settings, written once as `run.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from cluster.collections import Pairing, Selection
from cluster.runs.origins import AnyOrigin
from cluster.runs.plan import ShardPlan
from cluster.storage import SettingsRecord
from fusion_core.choices import Channels, Resize
from fusion_core.extensions import MetricRecord
from fusion_core.images import ALL_BANDS, Bands
from fusion_core.metrics import adopt_metric

RUN_KEY = "run.json"


class RunRecord(SettingsRecord):
    """The content of `run.json`."""

    key: ClassVar[str] = RUN_KEY
    noun: ClassVar[str] = "run"
    consequences: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("kind", "method", "parameters.", "weights_"),
        **dict.fromkeys(("parameters.", "weights_", "keep_images"), ("kind", "method")),
        "sixteen_bit": ("kind",),
        "manifest_digest": ("rows", "sources", "selection.", "pairing."),
        "sources": ("pairing.",),
        "rows": ("selection.", "pairing."),
        "shard_size": ("rows",),
    }
    informative: ClassVar[Mapping[str, Any]] = {
        **dict.fromkeys(("source", "source_sha256", "environment"), True),
        "origin": {"fused", "reference", "weights"},
    }

    name: str
    """Name of the run, the value of the `run` column."""
    collection: str
    """Name of the collection, the value of the `collection` column."""
    source: str
    """Folder of the pairs, or manifest file."""
    source_sha256: str | None = None
    """SHA-256 of a manifest file; None for a folder."""
    pairing: Pairing = Pairing()
    """How the images of a pair are named in a folder."""
    selection: Selection = Selection()
    """The pairs of the source that the run takes."""
    origin: AnyOrigin
    """Origin of the fused images."""
    metrics: list[str]
    """Names of the metrics, in the order of their columns."""
    own_metrics: dict[str, MetricRecord] = Field(default_factory=dict)
    """Those of them that are the user's own."""
    channels: dict[str, Channels] = Field(default_factory=dict)
    """What metrics of colour images are computed of; those left out, of the luma."""
    measures: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Measures of other libraries by their columns: their names there, the versions of the
    libraries, and the SHA-256 of the weights."""
    max_pixels: int
    """Largest accepted image in pixels, width times height."""
    bands: Bands = ALL_BANDS
    """Bands that are selected of files with many."""
    resize: Resize = "off"
    """Size to which sources of different sizes are brought, by a bicubic filter."""
    shard_size: int
    """Pairs per shard."""
    rows: int
    """Number of pairs."""
    sources: int = 2
    """Number of sources of a pair."""
    manifest_digest: str
    """SHA-256 over the rows of the manifest."""
    irfuse_version: str
    """Version of irfuse."""
    torch_version: str
    """Version of torch."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Versions of Python and other packages, for information only."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what the rows hold; two runs with equal settings are one run."""
        return {name.removeprefix("origin."): value for name, value in super().settings.items()}

    def adopt_metrics(self) -> None:
        """Let this process know the metrics of the user's own, for tables."""
        for name, recorded in self.own_metrics.items():
            adopt_metric(recorded.to_metric(name))

    @property
    def plan(self) -> ShardPlan:
        """The run's shard plan."""
        return ShardPlan(self.rows, self.shard_size)
