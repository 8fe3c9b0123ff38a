"""What a run is and how far it has come, read from its output location alone."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.shards import SHARDS_PREFIX, ShardPlan, parse_shard_key, shard_facts, shard_key
from cluster.storage import Store
from fusion_core.errors import NotFoundError, RunConflictError, StorageError

Record = TypeVar("Record", bound=BaseModel)

RUN_KEY = "run.json"
_READERS = 16
_READ_AHEAD = 64
"""Shards that are read before they are asked for."""


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


@dataclass(frozen=True, slots=True)
class ShardContent:
    """One committed shard: its facts and, where columns were asked for, its rows."""

    shard: int
    facts: Mapping[str, str]
    rows: int
    table: pa.Table | None


class Ledger:
    """Which shards of a run are committed, and what is in them."""

    def __init__(self, out: Store, record: RunRecord) -> None:
        self._out = out
        self._record = record

    def finished(self) -> set[int]:
        """Return the committed shards: one listing."""
        shards = (parse_shard_key(entry.key) for entry in self._out.entries(SHARDS_PREFIX))
        count = self._record.plan.count
        return {shard for shard in shards if shard is not None and shard < count}

    def contents(self, columns: Sequence[str] = ()) -> Iterator[ShardContent]:
        """Read the committed shards in order, with only the columns that are asked for.

        Raises:
            StorageError: A shard cannot be read, or belongs to another run.
        """
        read = self._reader(columns)
        with ThreadPoolExecutor(_READERS) as pool:
            ahead: deque[Future[ShardContent]] = deque()
            for shard in sorted(self.finished()):
                ahead.append(pool.submit(read, shard))
                if len(ahead) == _READ_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _reader(self, columns: Sequence[str]) -> Callable[[int], ShardContent]:
        def read(shard: int) -> ShardContent:
            key = shard_key(shard)
            with self._out.open(key) as file:
                try:
                    parquet = pq.ParquetFile(file)
                    facts = shard_facts(parquet.schema_arrow.metadata)
                    table = parquet.read(columns=list(columns)) if columns else None
                except (pa.ArrowException, OSError) as error:
                    raise StorageError(
                        f"{self._out.uri(key)} is damaged ({error}); delete it and run again"
                    ) from None
            if facts.get("fingerprint") != self._record.fingerprint:
                raise StorageError(
                    f"{self._out.uri(key)} was written by a run with other settings; delete it and "
                    "run again"
                )
            return ShardContent(shard, facts, parquet.metadata.num_rows, table)

        return read
