"""Explanations of the errors of stores."""

from __future__ import annotations

import errno
from pathlib import Path

from cluster.storage.locations import redact, redact_text
from cluster.storage.retries import is_access_denied, is_transient, reason_of
from fusion_core.errors import AccessDeniedError, NotFoundError, StorageError

_REMEDIES: dict[int | None, str] = {
    errno.ENOSPC: "; free some space, or use another location",
    errno.EDQUOT: "; free some space, or use another location",
    errno.EROFS: "; make it writable, or use another location",
    errno.EISDIR: "; check the path, or use another location",
    errno.ENOTDIR: "; check the path, or use another location",
}


def explain(
    verb: str, uri: str, error: Exception, *, local_path: Path | None = None
) -> StorageError:
    """Return a storage error whose message contains the location, the cause and the remedy.

    Args:
        verb: What failed: `list`, `inspect`, `read`, `write` or `delete`.
        uri: The full URL or path.
        error: The error of the store.
        local_path: The path, if it is on the local file system.
    """
    what, reason = f"Cannot {verb} {redact(uri)}", redact_text(reason_of(error))
    if isinstance(error, FileNotFoundError):
        if verb not in ("list", "write"):
            return NotFoundError(f"{what}: it does not exist")
        if local_path:
            return NotFoundError(f"{what}: its folder was removed")
        return NotFoundError(
            f"{what}: its bucket does not exist; create it, or check the URL and the endpoint"
        )
    if is_access_denied(error):
        return AccessDeniedError(
            f"{what}: access denied ({reason}); check the credentials and permissions for this "
            "location"
        )
    if is_transient(error):
        return StorageError(
            f"{what}: it failed several times ({reason}); check that the store is up and reachable"
        )
    if local_path and isinstance(error, NotADirectoryError):
        reason = _describe_file_in_the_way(local_path, reason)
    remedy = _REMEDIES.get(getattr(error, "errno", None), "")
    return StorageError(f"{what}: {reason}{remedy}")


def _describe_file_in_the_way(path: Path, reason: str) -> str:
    """Return which part of a path is a file although it must be a folder."""
    files = (parent for parent in path.parents if parent.is_file())
    return next((f"{file} is a file, not a folder" for file in files), reason)
