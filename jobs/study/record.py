"""The record of a study: its settings, written to `study.json`, which may only grow."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any, ClassVar

from pydantic import Field

from cluster.session import installed_software
from cluster.storage import SettingsRecord, Store, find_record, require_same_settings
from fusion_core.choices import ScoreColour
from fusion_core.extensions import choose_metrics
from jobs.study.settings import (
    PublishedRow,
    ReportSettings,
    StatisticsSettings,
    StudyCollection,
    StudyMethod,
    StudySettings,
)

STUDY_KEY = "study.json"
RUNS_PREFIX = "runs"


class StudyRecord(SettingsRecord):
    """The content of `study.json`."""

    key: ClassVar[str] = STUDY_KEY
    noun: ClassVar[str] = "study"
    informative: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("requested_metrics", "statistics", "report", "published", "added", "environment"), True
    )

    collections: dict[str, StudyCollection]
    """The collections by name, with the location and selection of their pairs."""
    methods: dict[str, StudyMethod]
    """The methods by label."""
    metrics: list[str]
    """Names of the metrics."""
    requested_metrics: tuple[str, ...] | None = None
    """Names of metrics and presets, as they were requested; they decide `metrics`."""
    score_colour: ScoreColour = "luma"
    """What metrics of colour images are computed of."""
    statistics: StatisticsSettings = StatisticsSettings()
    """How methods are compared."""
    report: ReportSettings = ReportSettings()
    """What the report shows."""
    published: tuple[PublishedRow, ...] = ()
    """Published values."""
    added: tuple[str, ...] = ()
    """Keys of the cells that were added as finished runs."""
    irfuse_version: str
    """Version of irfuse."""
    torch_version: str
    """Version of torch."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Version of Python, for information only."""


def cell_key(collection: str, label: str) -> str:
    """Return the key of the run of a method on a collection."""
    return f"{RUNS_PREFIX}/{collection}/{label}"


def record_of(study: StudySettings) -> StudyRecord:
    """Return the record of a study that is defined now.

    Raises:
        InvalidValueError: A metric is unknown.
    """
    names = study.metrics.names
    return StudyRecord(
        collections=study.collections,
        methods=study.methods,
        metrics=choose_metrics(names, study.metrics.score_colour).names,
        requested_metrics=names,
        score_colour=study.metrics.score_colour,
        statistics=study.statistics,
        report=study.report,
        published=study.published,
        irfuse_version=version("irfuse"),
        torch_version=version("torch"),
        code_sha256=installed_software().code_sha256,
        environment={"python": platform.python_version()},
    )


def grow(found: StudyRecord | None, requested: StudyRecord) -> StudyRecord:
    """Return the existing record with the collections and methods that are new.

    How methods are compared and reported is as requested last.

    Raises:
        RunConflictError: Something of the existing study differs; the message names the keys.
    """
    if found is None:
        return requested
    collections = found.collections.keys() & requested.collections.keys()
    labels = found.methods.keys() & requested.methods.keys()
    require_same_settings(
        _common(found, requested, collections, labels),
        _common(requested, found, collections, labels),
    )
    return found.model_copy(
        update={
            "collections": {**requested.collections, **found.collections},
            "methods": {
                label: _join_folders(method, requested.methods.get(label))
                for label, method in {**requested.methods, **found.methods}.items()
            },
            "statistics": requested.statistics,
            "report": requested.report,
            "published": requested.published or found.published,
            "added": tuple(dict.fromkeys((*found.added, *requested.added))),
        }
    )


def _join_folders(method: StudyMethod, other: StudyMethod | None) -> StudyMethod:
    """Add folders of fused images of further collections."""
    if other is None or not isinstance(method.fused, dict) or not isinstance(other.fused, dict):
        return method
    return method.model_copy(update={"fused": {**other.fused, **method.fused}})


def _common(
    record: StudyRecord,
    other: StudyRecord,
    collections: Collection[str],
    labels: Collection[str],
) -> StudyRecord:
    """Return a record with nothing but what another one describes as well."""
    methods: dict[str, StudyMethod] = {}
    for label in sorted(labels):
        method, counterpart = record.methods[label], other.methods[label]
        if isinstance(method.fused, dict) and isinstance(counterpart.fused, dict):
            both = {name: url for name, url in method.fused.items() if name in counterpart.fused}
            method = method.model_copy(update={"fused": both})
        methods[label] = method
    return record.model_copy(
        update={
            "collections": {name: record.collections[name] for name in sorted(collections)},
            "methods": methods,
        }
    )


def find_study(out: Store) -> StudyRecord | None:
    """Return the record of the study at a location, or None.

    Raises:
        StorageError: It cannot be read, or was not written by this version of irfuse.
    """
    return find_record(out, StudyRecord)


def save_study(out: Store, found: StudyRecord | None, record: StudyRecord) -> None:
    """Write a record that is new or has grown."""
    if record != found:
        out.write(record.key, record.model_dump_json(indent=2).encode())
