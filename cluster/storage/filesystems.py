"""The fsspec file system of a location, with the time limits that irfuse needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.registry import known_implementations

from cluster.storage.local import LocalFiles
from cluster.storage.locations import (
    LOCAL_PROTOCOLS,
    REMOTE_PROTOCOLS,
    WEB_PROTOCOLS,
    protocol_of,
    redact,
)
from fusion_core.errors import StorageError
from fusion_core.suggestions import unknown_name

_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 30


def filesystem_at(url: str, storage_options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the file system of a URL.

    Raises:
        StorageError: The protocol is unknown, or the options do not fit it.
    """
    protocol = protocol_of(url) or "file"
    options = dict(storage_options)
    if not isinstance(options.setdefault("obstore", True), bool):
        raise StorageError("Storage option obstore must be true or false")
    if protocol in LOCAL_PROTOCOLS:
        return LocalFiles()
    if protocol in WEB_PROTOCOLS:
        # The given options belong to the object store of the other locations.
        options = {"client_kwargs": {"timeout": _web_timeout()}}
    elif protocol in ("s3", "s3a"):
        config = {
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "read_timeout": _READ_TIMEOUT_S,
            "retries": {"mode": "standard", "total_max_attempts": 1},
        }
        given = options.pop("config_kwargs", {})
        if not isinstance(given, Mapping):
            raise StorageError("Storage option config_kwargs must be a JSON object")
        options = {"use_listings_cache": False, "skip_instance_cache": True, **options}
        options["config_kwargs"] = {**config, **given}
    try:
        filesystem = _make(protocol, options)
    except (ImportError, ValueError) as error:
        if protocol not in known_implementations:
            message = unknown_name("protocol", protocol, (*REMOTE_PROTOCOLS, "file", "memory"))
            raise StorageError(f"{redact(url)}: {message}") from None
        raise StorageError(f"Cannot use {protocol}:// locations: {error}") from None
    except TypeError as error:
        raise StorageError(f"Storage options do not fit {protocol}://: {error}") from None
    if protocol in ("s3", "s3a"):
        filesystem.retries = 1  # with_retries is the only place that retries
    return filesystem


def _make(protocol: str, options: dict[str, Any]) -> Any:  # noqa: ANN401
    if protocol in ("s3", "s3a"):
        from cluster.storage.s3 import S3Files

        return S3Files(**options)
    options.pop("obstore", None)
    return fsspec.filesystem(protocol, **options)


def _web_timeout() -> Any:  # noqa: ANN401
    """Return the time limits of web requests: none for the whole, but for each part of it."""
    import aiohttp

    return aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_READ_TIMEOUT_S
    )
