"""The record of a run: what was asked for, written once as `run.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.runs.plan import ShardPlan
from cluster.storage.store import Store
from fusion_core.errors import NotFoundError, RunConflictError, StorageError

Record = TypeVar("Record", bound=BaseModel)
RUN_KEY = "run.json"


class RunRecord(BaseModel):
    """The content of `run.json`: what was asked for, written once."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["run", "score"]
    source: str
    source_sha256: str | None = None
    """Of a manifest file; None for a folder."""
    fused: str | None = None
    """Where the fused images of a `score` come from."""
    method: str
    parameters: dict[str, Any]
    weights: str | None = None
    weights_sha256: str | None = None
    weights_trained: bool | None = None
    metrics: list[str]
    max_pixels: int
    keep_images: bool
    shard_size: int
    rows: int
    manifest_digest: str
    irfuse_version: str
    torch_version: str
    environment: dict[str, str] = {}
    """Further versions, for information."""
    created: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what the rows hold; two runs with equal settings are one run."""
        informative = {"source", "source_sha256", "fused", "weights", "environment", "created"}
        return self.model_dump(exclude=informative)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    @property
    def plan(self) -> ShardPlan:
        """The run's shard plan."""
        return ShardPlan(self.rows, self.shard_size)


def read_run(out: Store) -> RunRecord:
    """Read `run.json`.

    Raises:
        NotFoundError: The location holds no run.
        StorageError: It cannot be read, or is not what irfuse wrote.
    """
    record = find_run(out)
    if record is None:
        raise NotFoundError(f"{out.url} holds no run (there is no {RUN_KEY})")
    return record


def find_run(out: Store) -> RunRecord | None:
    """Read `run.json`, None where there is none.

    Raises:
        StorageError: It cannot be read, or is not what irfuse wrote.
    """
    return find_record(out, RUN_KEY, RunRecord, "run")


def find_record(out: Store, key: str, model: type[Record], kind: str) -> Record | None:
    """Read the settings that a run or training wrote at its start, None where there are none.

    Raises:
        StorageError: They cannot be read, or are not what irfuse wrote.
    """
    try:
        return model.model_validate_json(out.read(key))
    except NotFoundError:
        return None
    except ValidationError as error:
        raise StorageError(
            f"{out.uri(key)} is not a {kind} record of this version of irfuse: "
            f"{error.errors()[0]['msg']}"
        ) from None


def check_same_run(found: RunRecord, wanted: RunRecord) -> None:
    """Check that a location's run is the one that is asked for.

    Raises:
        RunConflictError: Settings differ; the message names each with both values.
    """
    check_same_settings("run", found.settings, wanted.settings)


def check_same_settings(kind: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Check that the settings at a location are those that are asked for.

    Raises:
        RunConflictError: They differ; the message names each with both values.
    """
    differing = [key for key in here if there.get(key) != here[key]]
    if differing:
        details = "; ".join(f"{k}: {there.get(k)!r} there, {here[k]!r} now" for k in differing)
        raise RunConflictError(
            f"The output location already holds a {kind} with other settings ({details}); "
            "use another --out, or the same settings to resume"
        )
