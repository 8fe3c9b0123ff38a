"""Base of the options models: locations, Ray, sources and images, and the types of their fields."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field

from cluster.collections import Layout
from fusion_core.choices import DEFAULT_MAX_PIXELS, LARGEST_MAX_PIXELS, Device, Resize
from fusion_core.errors import InvalidValueError
from jobs.key_values import parse_bands, parse_key_values, parse_typed_key_values

if TYPE_CHECKING:
    from cluster.session import ClusterOptions
    from cluster.storage import Store
    from fusion_core.images import Bands


SELECTION = Group("Selection", sort_key=1)
RAY = Group("Ray", sort_key=2)
DRY_RUN = Group("Dry run", sort_key=0)
MONITORING = Group("Monitoring", sort_key=3)
STORAGE = Group("Storage", sort_key=4)
_LINGER_VARIABLE = "IRFUSE_METRICS_LINGER"
_LINGER_S = 15.0
"""Interval at which Prometheus reads metrics in most installations."""


def _split_names(given: Any) -> Any:  # noqa: ANN401
    """Split names at commas; other values are left to the validation."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return given
    return tuple(part for name in names for part in name.split(",") if part)


KeyValues = Annotated[dict[str, Any], BeforeValidator(parse_key_values)]
TypedKeyValues = Annotated[dict[str, Any], BeforeValidator(parse_typed_key_values)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
"""An option that is off unless it is given, without a second form that turns it off."""
Size = Annotated[
    ByteSize, Parameter(group=RAY, converter=lambda _, tokens: tokens[0].value, metavar="SIZE")
]
"""A number of bytes with its unit, such as 2GB or 1.5GiB."""
Json = Annotated[Flag, Parameter(name="--json")]


class LocationOptions(BaseModel):
    """Options of every job that reads or writes a location."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # the input may be a secret
    )

    storage_options: Annotated[TypedKeyValues, Parameter(group=STORAGE)] = Field(
        default_factory=dict, repr=False, exclude=True
    )
    """Option for fsspec as NAME=VALUE, repeated for each, or one JSON object. A VALUE is JSON, such
    as false or 10, or text. Credentials come from the usual chain of the provider."""

    def store(self, url: str) -> Store:
        """Return the store at a location.

        Raises:
            StorageError: The location contains a password or a query, or its protocol is unknown.
        """
        from cluster.storage import Store

        return Store(url, self.storage_options)

    def file(self, url: str) -> tuple[Store, str]:
        """Return the store of an object's folder, and the object's key in it.

        Raises:
            StorageError: As `store`.
        """
        from cluster.storage import split_object_url

        folder, name = split_object_url(url)
        return self.store(folder), name


class RayOptions(LocationOptions):
    """Options of the jobs that compute on Ray."""

    address: Annotated[str | None, Parameter(group=RAY)] = None
    """Address of a Ray cluster. By default RAY_ADDRESS is used, or Ray is started on this
    machine."""
    workers: Annotated[int | None, Parameter(group=RAY)] = Field(default=None, ge=1)
    """Number of workers. By default there is one per GPU, or one per CPU if there is no GPU."""
    device: Annotated[Device, Parameter(group=RAY)] = "auto"
    """Device to compute on; `auto` uses GPUs if the cluster has any."""
    start_timeout: Annotated[float, Parameter(group=RAY)] = Field(default=900.0, gt=0)
    """Seconds to wait for the first worker to be placed and ready."""

    def cluster(self) -> ClusterOptions:
        """Return the cluster and the resources to use."""
        from cluster.session import ClusterOptions

        return ClusterOptions(
            address=self.address,
            workers=self.workers,
            device=self.device,
            start_timeout_s=self.start_timeout,
        )


class MonitoredOptions(RayOptions):
    """Options of the jobs that compute the rows of runs."""

    log: Annotated[Literal["text", "json"] | None, Parameter(group=MONITORING)] = None
    """Write events as lines of text or JSON to standard error: shards that are committed, failed
    pairs, deaths of workers, and so on. Unless that is a terminal, they replace the progress."""
    log_file: Annotated[str | None, Parameter(group=MONITORING)] = None
    """Local file to append the events to instead, as text unless --log json is given."""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Parameter(group=MONITORING)
    ] = "info"
    """Least important level of the events that are written."""
    metrics_linger: Annotated[float | None, Parameter(group=MONITORING)] = Field(
        default=None, ge=0.0
    )
    """Seconds to stay connected to a cluster when all is computed, so that Prometheus reads the
    last metrics before the cluster is removed. By default IRFUSE_METRICS_LINGER is used, or 15;
    a Ray on this machine is not waited for."""

    def cluster(self) -> ClusterOptions:
        """Return the cluster and the resources to use.

        Raises:
            InvalidValueError: IRFUSE_METRICS_LINGER is not a number of seconds.
        """
        return replace(super().cluster(), metrics_linger_s=self._linger_s())

    def _linger_s(self) -> float:
        if self.metrics_linger is not None:
            return self.metrics_linger
        given = os.environ.get(_LINGER_VARIABLE)
        try:
            return _LINGER_S if given is None else max(0.0, float(given))
        except ValueError:
            raise InvalidValueError(
                f"Expected a number of seconds in {_LINGER_VARIABLE}, but got {given!r}"
            ) from None


class ProbeOptions(LocationOptions):
    """Options of the jobs whose output location can be tried before."""

    probe_write: Annotated[Flag, Parameter(group=DRY_RUN)] = False
    """Let --dry-run create an empty object in OUT and delete it, to find out whether OUT can be
    written."""


class DryRunOptions(ProbeOptions):
    """Options of the jobs of which some pairs can be computed before they are started."""

    dry_run: Annotated[Flag, Parameter(group=DRY_RUN)] = False
    """Check everything that a run needs and name all problems at once, compute a few pairs on the
    cluster to estimate time, size and price, and write nothing. Ends with status 1 if a run would
    not start, or would stop because of failed pairs."""
    dry_run_pairs: Annotated[int, Parameter(group=DRY_RUN)] = Field(default=16, ge=2, le=1024)
    """Number of pairs that --dry-run computes, from all parts of the collection. As many workers as
    the run would have compute them at the same time, but each of them at least two."""
    price_per_hour: Annotated[float | None, Parameter(group=DRY_RUN)] = Field(default=None, ge=0)
    """Price of a worker per hour, from which --dry-run computes that of the run."""


class SourceOptions(LocationOptions):
    """Options of every job that takes a collection."""

    source: str
    """Folder of pairs (local path, s3://, gs://), or a manifest (.csv, .parquet)."""
    layout: Layout = "auto"
    """Layout of the pairs in the source folder; `auto` detects it."""
    ir: str | None = None
    """Folder of the infrared images below the source, or a pattern of them such as 'cam1/*.png'. An
    image belongs to the visible one for which the wildcards of both patterns stand for the same
    text."""
    vis: str | None = None
    """Folder or pattern of the visible images, together with --ir."""
    further_source: tuple[str, ...] = ()
    """Folder of a third source of each pair, such as near infrared, repeated for a fourth and so
    on. Its images are matched to the pairs by pair_id or file name. A manifest has the columns
    source_3_uri, source_4_uri and so on instead."""
    subset: Annotated[tuple[str, ...], Parameter(group=SELECTION)] = ()
    """Subset to take, or a folder of subsets (set00 for set00/V000); repeated for each. By default
    all pairs are taken."""
    where: Annotated[str | None, Parameter(group=SELECTION)] = None
    """Take the pairs for which a condition is true: SQL over the columns of the manifest, such as
    "subset = 'train' AND pair_id LIKE '%D'". Columns of a CSV manifest are text (frame::int > 100).
    """
    sample: Annotated[int | None, Parameter(group=SELECTION)] = Field(default=None, ge=1)
    """Draw this number of pairs, the same ones for the same --seed, in whatever order the pairs are
    found. A larger sample contains a smaller one."""
    seed: Annotated[int | None, Parameter(group=SELECTION)] = Field(default=None, ge=0)
    """Seed of --sample; 0 by default."""
    limit: Annotated[int | None, Parameter(group=SELECTION)] = Field(default=None, ge=1)
    """Take only this number of pairs from the beginning, after all other options."""
    allow_local_files: Annotated[Flag, Parameter(group=STORAGE)] = False
    """Allow a manifest on remote storage to refer to files of the local file system."""


class ImageOptions(LocationOptions):
    """Options of every job that decodes pairs."""

    band: Annotated[dict[str, str], BeforeValidator(parse_bands), Parameter(metavar="BAND")] = (
        Field(default_factory=dict)
    )
    """Band to read of an infrared file with many bands: its number from 1 or its name. ir=BAND and
    vis=BAND, or vis=RED,GREEN,BLUE, select those of both images."""
    resize: Resize = "off"
    """Bring sources of different sizes to one size: `smaller` reduces the larger image, `visible`
    resizes the infrared one. They must show the same scene: nothing is shifted or cropped."""
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=LARGEST_MAX_PIXELS)
    """Largest accepted image in pixels, width times height."""

    @property
    def bands(self) -> Bands:
        """The bands that are selected.

        Raises:
            InvalidValueError: Neither one nor three bands of an image are selected.
        """
        from fusion_core.images import Bands, split_bands

        for selected in self.band.values():
            split_bands(selected)
        return Bands(**self.band)
