"""Records: the settings of a run or training, written once to its output location."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.storage.store import Store
from fusion_core.errors import NotFoundError, RunConflictError, StorageError

_NO_SETTINGS: dict[str, Any] = {"created": True, "code_sha256": True}


class SettingsRecord(BaseModel):
    """Base of the records; two records with equal settings describe the same work."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    key: ClassVar[str]
    """Key of the record in the output location."""
    noun: ClassVar[str]
    """Name of the kind of job in messages."""
    informative: ClassVar[Mapping[str, Any]] = {}
    """Further fields that do not affect the result, in the notation of pydantic's `exclude`."""

    code_sha256: str | None = None
    """SHA-256 of irfuse's code when the record was created. It is no setting, because most changes
    of the code change no result."""
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """Time at which the record was created."""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that affect the result; names of nested settings are joined by dots."""
        return dict(_flatten(self.model_dump(exclude={**_NO_SETTINGS, **self.informative})))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()


Record = TypeVar("Record", bound=SettingsRecord)


def find_record(out: Store, model: type[Record]) -> Record | None:
    """Read the record at a location, or return None if there is none.

    Raises:
        StorageError: The record cannot be read, or was not written by this version of irfuse.
    """
    try:
        return model.model_validate_json(out.read(model.key))
    except NotFoundError:
        return None
    except ValidationError as error:
        raise StorageError(
            f"{out.uri(model.key)} is not a {model.noun} record of this version of irfuse: "
            f"{error.errors()[0]['msg']}"
        ) from None


def read_record(out: Store, model: type[Record]) -> Record:
    """Read the record at a location.

    Raises:
        NotFoundError: There is no record.
        StorageError: The record cannot be read, or was not written by this version of irfuse.
    """
    record = find_record(out, model)
    if record is None:
        raise NotFoundError(f"{out.url} contains no {model.noun} ({model.key} does not exist)")
    return record


def claim_location(out: Store, requested: Record, found: Record | None) -> Record:
    """Write a record, or check that the existing one has the same settings.

    If several processes start at the same time, one creates the record and the others find it.

    Args:
        out: The output location.
        requested: The record of the requested job.
        found: The result of an earlier `find_record`.

    Returns:
        The existing record.

    Raises:
        RunConflictError: Settings differ; the message lists each with both values.
        StorageError: The location cannot be read or written.
    """
    if found is None:
        created = out.create(requested.key, requested.model_dump_json(indent=2).encode())
        found = requested if created else read_record(out, type(requested))
    old, new = found.settings, requested.settings
    differing = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    if differing:
        details = "; ".join(
            f"{name}: existing {old.get(name)!r}, requested {new.get(name)!r}" for name in differing
        )
        raise RunConflictError(
            f"The output location already contains a {requested.noun} with other settings "
            f"({details}); use another --out, or the same settings to resume"
        )
    return found


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
