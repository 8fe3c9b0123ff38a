"""The definition of a study: a study file, or collections and methods on the command line."""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cluster.collections import collection_name
from cluster.storage import LOCAL_PROTOCOLS, Store, protocol_of, redact
from fusion_core.errors import InvalidValueError
from fusion_core.extensions import find_method
from fusion_core.suggestions import invalid_input
from jobs.study.options import StudyRunOptions
from jobs.study.papers import PAPER_PREFIX, read_paper
from jobs.study.settings import StudySettings

_WEIGHT_FILES = (".safetensors", ".pth", ".pt")


def define_study(options: StudyRunOptions) -> StudySettings:
    """Return the study that is requested, with full locations.

    Raises:
        InvalidValueError: The file or the options are not those of a study.
        StorageError: The file cannot be read.
    """
    first, *others = options.sources or ("",)
    if _is_study_file(first) and not others:
        tables, base = _read(first, options)
    elif any(map(_is_study_file, options.sources)):
        raise InvalidValueError("Expected one study file, or folders of collections, but got both")
    else:
        tables, base = _from_sources(options.sources), ""
    _add_options(tables, options)
    study = _validate(tables, redact(first) if _is_study_file(first) else "The study")
    if not study.collections or not study.methods:
        lacks = "collections" if not study.collections else "methods"
        raise InvalidValueError(
            f"The study has no {lacks}: give a study file with [{lacks}], or "
            "`irfuse study run COLLECTION… --methods NAME,… --fused LABEL=FOLDER --out OUT`"
        )
    return _resolve(study, base, options)


def check_methods(study: StudySettings, *, untrained: bool) -> None:
    """Check names and parameters of all methods before anything is computed.

    Raises:
        InvalidValueError: A method or a parameter is unknown, or weights are random although
            `untrained` is false.
    """
    for label, method in study.methods.items():
        if method.method is None:
            continue
        try:
            find_method(method.method, method.trust_code).spec.parameters.parse(method.params)
        except InvalidValueError as error:
            raise InvalidValueError(f"methods.{label}: {error}") from None
        if method.untrained and not untrained:
            raise InvalidValueError(
                f"methods.{label} has untrained weights ({method.weights}), which say nothing "
                "about the method; --untrained accepts them, and marks them in every table"
            )


def _is_study_file(source: str) -> bool:
    return source.startswith(PAPER_PREFIX) or source.lower().endswith(".toml")


def _read(source: str, options: StudyRunOptions) -> tuple[dict[str, Any], str]:
    """Return the tables of a study file, and the folder that its paths are relative to."""
    if source.startswith(PAPER_PREFIX):
        return _parse(read_paper(source), source), ""
    store, name = options.file(source)
    return _parse(store.read(name).decode("utf-8", "replace"), redact(source)), store.url


def _parse(text: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidValueError(f"{shown} is not a TOML file: {error}") from None


def _from_sources(sources: tuple[str, ...]) -> dict[str, Any]:
    collections: dict[str, Any] = {}
    for source in sources:
        name = collection_name(source)
        if name in collections:
            raise InvalidValueError(
                f"Two collections are called {name!r}; name them with --collections NAME=SOURCE"
            )
        collections[name] = {"source": _absolute(source)}
    return {"collections": collections}


def _add_options(tables: dict[str, Any], options: StudyRunOptions) -> None:
    """Add what the command line says to the tables of a study file."""
    collections = tables.setdefault("collections", {})
    for name, source in options.collections.items():
        known = collections.get(name)
        table = known if isinstance(known, dict) else {}
        collections[name] = {**table, "source": _absolute(str(source))}
    methods = tables.setdefault("methods", {})
    for name in options.methods:
        methods.setdefault(name, {"method": name})
    for label, folder in options.fused.items():
        methods[label] = {"fused": _absolute(str(folder))}
    if options.metrics is not None:
        tables["metrics"] = {**tables.get("metrics", {}), "names": list(options.metrics)}


def _absolute(location: str) -> str:
    return Store(location).url if _is_local(location) else location


def _validate(tables: Mapping[str, Any], shown: str) -> StudySettings:
    try:
        return StudySettings.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing" and first["loc"][0] == "collections":
            message = f"it is missing; give --collections {first['loc'][1]}=FOLDER"
        elif first["type"] == "extra_forbidden":
            message = "there is no such key"
        elif first["type"] not in ("value_error", "missing", "model_type", "dict_type"):
            message = invalid_input(message, first["input"])
        raise InvalidValueError(f"{shown}: {f'{key}: ' if key else ''}{message}") from None


def _resolve(study: StudySettings, base: str, options: StudyRunOptions) -> StudySettings:
    """Return the study with full locations; relative ones are relative to the study file."""
    collections = {
        name: collection.model_copy(update={"source": _join(base, collection.source)})
        for name, collection in study.collections.items()
    }
    methods = {
        label: method.model_copy(
            update={
                "fused": _folders(method.fused, list(collections), base, options),
                "weights": _join(base, method.weights)
                if (method.weights or "").endswith(_WEIGHT_FILES)
                else method.weights,
            }
        )
        for label, method in study.methods.items()
    }
    return study.model_copy(update={"collections": collections, "methods": methods})


def _folders(
    fused: str | Mapping[str, str] | None,
    collections: list[str],
    base: str,
    options: StudyRunOptions,
) -> dict[str, str] | None:
    """Return the folder of each collection that has fused images."""
    if fused is None:
        return None
    if not isinstance(fused, str):
        return {name: _join(base, folder) for name, folder in fused.items()}
    folder = _join(base, fused)
    if len(collections) == 1:
        return {collections[0]: folder}
    store = options.store(folder)
    return {name: f"{folder}/{name}" for name in collections if store.entries(name)}


def _join(base: str, location: str | None) -> str:
    """Return a location that may be relative to a folder."""
    location = location or ""
    if not base or not _is_local(location) or posixpath.isabs(location):
        return _absolute(location)
    return (
        _absolute(posixpath.normpath(f"{base}/{location}"))
        if _is_local(base)
        else (f"{base}/{location}")
    )


def _is_local(location: str) -> bool:
    return protocol_of(location) in LOCAL_PROTOCOLS
