"""Records: the settings of a run or training, written once to its output location."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.storage.store import Store
from fusion_core.errors import NotFoundError, RunConflictError, StorageError

_NO_SETTINGS: dict[str, Any] = {"created": True, "code_sha256": True}
_DIGEST = re.compile("[0-9a-f]{64}")
_SHOWN_DIGITS = 12


class SettingsRecord(BaseModel):
    """Base of the records; two records with equal settings describe the same work."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    key: ClassVar[str]
    """Key of the record in the output location."""
    noun: ClassVar[str]
    """Name of the kind of job in messages."""
    consequences: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Settings that follow from others, all by the beginning of their names. The message of a
    conflict leaves them out if one of the others differs."""
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
        return self._settings()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings that differ from their defaults.

        A later version of irfuse may have further settings, whose defaults stand for what earlier
        versions do. It finds the same fingerprint, and therefore reads what they have written.
        """
        changed = self._settings(exclude_defaults=True)
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()

    def _settings(self, *, exclude_defaults: bool = False) -> dict[str, Any]:
        excluded = {**_NO_SETTINGS, **self.informative}
        return dict(_flatten(self.model_dump(exclude=excluded, exclude_defaults=exclude_defaults)))


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
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise StorageError(
                f"{out.uri(model.key)} is damaged ({first['msg']}); delete it and run the same "
                f"command as before to resume the {model.noun}, or use another --out"
            ) from None
        field = ".".join(str(part) for part in first["loc"])
        raise StorageError(
            f"{out.uri(model.key)} is not a {model.noun} record of this version of irfuse "
            f"({field}: {first['msg']}); use the version that wrote it, or another --out"
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
        RunConflictError: Settings differ; the message names each with both values.
        StorageError: The location cannot be read or written.
    """
    if found is None:
        created = out.create(requested.key, requested.model_dump_json(indent=2).encode())
        found = requested if created else read_record(out, type(requested))
    require_same_settings(found, requested)
    return found


def require_same_settings(
    found: SettingsRecord,
    requested: SettingsRecord,
    *,
    place: str = "The output location",
    option: str = "--out",
) -> None:
    """Check that two records have the same settings.

    Args:
        found: The record of the existing job.
        requested: The record of the requested job.
        place: Where the existing job is, for the message.
        option: Option that selects another place.

    Raises:
        RunConflictError: Settings differ; the message names each with both values.
    """
    differences = _differences(found, requested)
    if differences:
        raise RunConflictError(
            f"{place} already contains a {requested.noun} with other settings "
            f"({'; '.join(differences)}); use another {option}, or the same settings to resume"
        )


def _differences(found: SettingsRecord, requested: SettingsRecord) -> list[str]:
    """Return a text for each setting that differs, without those that follow from another one."""
    old, new = found.settings, requested.settings
    differing = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    return [
        f"{name}: {_difference(old.get(name), new.get(name))}"
        for name in differing
        if not any(
            name.startswith(setting) and any(other.startswith(causes) for other in differing)
            for setting, causes in found.consequences.items()
        )
    ]


def _difference(old: Any, new: Any) -> str:  # noqa: ANN401
    lists = isinstance(old, (list, tuple)) and isinstance(new, (list, tuple))
    if lists and set(old) != set(new):
        sides = (("existing", new, old), ("requested", old, new))
        missing = ((side, [str(o) for o in others if o not in own]) for side, others, own in sides)
        return ", ".join(f"{side} without {', '.join(names)}" for side, names in missing if names)
    return f"existing {_shorten(old)}, requested {_shorten(new)}"


def _shorten(value: Any) -> str:  # noqa: ANN401
    """Return a value for a message, and of a digest the first digits."""
    digest = isinstance(value, str) and _DIGEST.fullmatch(value)
    return f"'{value[:_SHOWN_DIGITS]}…'" if digest else repr(value)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
