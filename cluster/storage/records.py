"""Records: what a run or training was asked for, written once to its output location."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.storage.store import Store
from fusion_core.errors import NotFoundError, RunConflictError, StorageError


class SettingsRecord(BaseModel):
    """Base of the records; two records with equal settings describe the same work."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    key: ClassVar[str]
    """Where the record lies below the output location."""
    noun: ClassVar[str]
    """What messages call the work."""
    informative: ClassVar[Mapping[str, Any]] = {"created": True}
    """Fields that do not decide the outcome, in the notation of pydantic's `exclude`."""

    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When the work began."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the outcome, with dotted names for what lies in mappings."""
        return dict(_flatten(self.model_dump(exclude=dict(self.informative))))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()


Record = TypeVar("Record", bound=SettingsRecord)


def find_record(out: Store, model: type[Record]) -> Record | None:
    """Read the record at a location, None where there is none.

    Raises:
        StorageError: It cannot be read, or is not what irfuse wrote.
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
        NotFoundError: There is none.
        StorageError: It cannot be read, or is not what irfuse wrote.
    """
    record = find_record(out, model)
    if record is None:
        raise NotFoundError(f"{out.url} holds no {model.noun} (there is no {model.key})")
    return record


def claim_location(out: Store, wanted: Record, found: Record | None) -> Record:
    """Write a record where there is none, or check that the one that is there has its settings.

    Of several processes that begin at once only one creates the record; the others find it.

    Args:
        out: The output location.
        wanted: What is asked for now.
        found: What an earlier `find_record` returned.

    Returns:
        The record that is there.

    Raises:
        RunConflictError: Settings differ; the message names each with both values.
        StorageError: The location cannot be read or written.
    """
    if found is None:
        created = out.create(wanted.key, wanted.model_dump_json(indent=2).encode())
        found = wanted if created else read_record(out, type(wanted))
    there, here = found.settings, wanted.settings
    differing = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    if differing:
        details = "; ".join(
            f"{name}: {there.get(name)!r} there, {here.get(name)!r} now" for name in differing
        )
        raise RunConflictError(
            f"The output location already holds a {wanted.noun} with other settings ({details}); "
            "use another --out, or the same settings to resume"
        )
    return found


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
