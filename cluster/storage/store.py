"""One thin storage type over fsspec, rooted at a URL, with relative keys everywhere.

Objects are published whole: remote stores by one PUT, file systems by write, fsync and rename.
Passing faults (throttling, resets, timeouts) are retried with backoff; everything else becomes one
of the storage errors of `fusion_core.errors`, whose message names the location and the remedy.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec

from cluster.storage.locations import (
    LOCAL_PROTOCOLS,
    WEB_PROTOCOLS,
    check_no_secret,
    protocol_of,
    redact,
    redact_text,
    split_query,
)
from cluster.storage.publishing import TEMPORARY_MARK, link_new, publish_file
from cluster.storage.retries import STORE_ERRORS, is_passing, is_refusal, reason_of, with_retries
from fusion_core.errors import AccessDeniedError, NotFoundError, StorageError

T = TypeVar("T")
_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 30
_STALE_TEMPORARY_S = 3600.0
_PART_BYTES = 8 * 1024 * 1024
_LARGEST_PUT = 5 * 1024**3
"""Of S3. s3fs would upload 100 MiB and more in parts, and fails in its own clean-up when the answer
to the last request is lost."""
_REMEDIES: dict[int | None, str] = {
    errno.ENOSPC: "; make room there, or use another location",
    errno.EDQUOT: "; make room there, or use another location",
    errno.EROFS: "; make it writable, or use another location",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    key: str
    """Path relative to the store's root, with `/` between folders."""
    size: int
    """Length in bytes."""


class Store:
    """Objects below one URL: `s3://bucket/prefix`, `gs://…`, a local path, `memory://…`.

    Credentials come from the provider's usual chain; `storage_options` are handed to fsspec. They
    never appear in a message or in anything that is written.

    Raises:
        StorageError: The URL holds a password or a query, or its protocol is not known.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.storage_options = dict(storage_options or {})
        check_no_secret(url)
        if split_query(url)[1]:
            raise StorageError(
                f"{redact(url)} has a query, which only the URL of a single file may have"
            )
        self._fs = _filesystem(url, self.storage_options)
        protocol = protocol_of(url)
        self.is_local = protocol in LOCAL_PROTOCOLS
        self._put_options = {"chunksize": _LARGEST_PUT} if protocol in ("s3", "s3a") else {}
        root = self._fs._strip_protocol(url)
        self._root = os.path.abspath(root).rstrip("/") if self.is_local else root.rstrip("/")
        whole = self.is_local or "://" in self._root
        self.url = self._root if whole else f"{protocol}://{self._root.lstrip('/')}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.url, self.storage_options)

    def path(self, key: str) -> str:
        """Return the fsspec path of a key."""
        return f"{self._root}/{key}" if key else self._root

    def uri(self, key: str) -> str:
        """Return the full URL of a key (an absolute path on a local store)."""
        return f"{self.url}/{key}" if key else self.url

    def entries(self, prefix: str = "") -> list[Entry]:
        """Return every object below a folder, sorted by key; an absent folder holds none.

        Raises:
            StorageError: The location cannot be listed.
        """
        found = self._call("list", prefix, lambda: self._find(prefix))
        start = len(self._root) + 1
        entries = [
            Entry(path[start:], int(info.get("size") or 0))
            for path, info in found.items()
            if info.get("type") != "directory" and TEMPORARY_MARK not in path
        ]
        return sorted(entries, key=lambda entry: entry.key)

    def _find(self, prefix: str) -> dict[str, dict[str, Any]]:
        try:
            found: dict[str, dict[str, Any]] = self._fs.find(self.path(prefix), detail=True)
        except FileNotFoundError:
            self._require_container()
            return {}
        if not found:
            self._require_container()
        return found

    def _require_container(self) -> None:
        """Tell a bucket that does not exist from an empty prefix, where the store can say."""
        if self.is_local or "/" not in self._root or "://" in self._root:
            return
        try:
            self._fs.info(self._root.split("/", 1)[0])  # exists() takes any fault for absence
        except OSError as error:
            # Who may list a bucket may not always look at it, which stores say in various ways.
            if isinstance(error, FileNotFoundError) or is_passing(error):
                raise

    def exists(self, key: str) -> bool:
        """Whether an object lies at a key."""
        return bool(self._call("look at", key, lambda: self._fs.exists(self.path(key))))

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return an object's bytes, or those from `start` to before `end`.

        Raises:
            NotFoundError: There is no such object.
            StorageError: It cannot be read.
        """
        path = self.path(key)
        return bytes(self._call("read", key, lambda: self._fs.cat_file(path, start=start, end=end)))

    def open(self, key: str) -> BinaryIO:
        """Open an object for random reads, each of them retried like any other call."""
        if self.is_local:
            opened: BinaryIO = self._call("read", key, lambda: self._fs.open(self.path(key), "rb"))
            return opened
        info = self._call("read", key, lambda: self._fs.info(self.path(key)))
        return cast(BinaryIO, _RangeReader(self, key, int(info["size"])))

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of an object's bytes, of which few are held at once.

        Raises:
            StorageError: It cannot be read.
        """
        digest = hashlib.sha256()
        with self.open(key) as file:
            while part := file.read(_PART_BYTES):
                digest.update(part)
        return digest.hexdigest()

    def write(self, key: str, data: bytes) -> None:
        """Publish an object whole, in the place of whatever was there.

        Raises:
            StorageError: It cannot be written; what was there before is untouched.
        """
        if self.is_local:
            self._call("write", key, lambda: publish_file(Path(self.path(key)), data, os.replace))
        else:
            self._call("write", key, lambda: self._put(key, data))

    def create(self, key: str, data: bytes) -> bool:
        """Publish an object only if there is none; False if another was there first.

        On stores without conditional writes two writers at the same instant may both succeed.

        Raises:
            StorageError: It cannot be written.
        """
        try:
            if self.is_local:
                path = Path(self.path(key))
                self._call("write", key, lambda: publish_file(path, data, link_new))
            else:
                self._call("write", key, lambda: self._create_remote(key, data))
        except FileExistsError:
            # A retried PUT may have met its own first try.
            return self.read(key) == data
        return True

    def _put(self, key: str, data: bytes, **mode: str) -> None:
        self._fs.pipe_file(self.path(key), data, **mode, **self._put_options)

    def _create_remote(self, key: str, data: bytes) -> None:
        try:
            self._put(key, data, mode="create")
        except OSError as error:
            # Some servers answer a failed precondition in words that s3fs reads as EINVAL.
            if error.errno == errno.EINVAL and self._fs.exists(self.path(key)):
                raise FileExistsError(key) from error
            raise

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        try:
            self._call("delete", key, lambda: self._fs.rm_file(self.path(key)))
        except NotFoundError:
            return

    def remove_stale_temporaries(self, prefix: str = "") -> None:
        """Remove files that writers killed over an hour ago left behind on a file system."""
        if not self.is_local:
            return
        deadline = time.time() - _STALE_TEMPORARY_S
        for path in Path(self.path(prefix)).glob(f"*{TEMPORARY_MARK}*"):
            # Another driver may be publishing it, or own it.
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < deadline:
                    path.unlink()

    def _call(self, verb: str, key: str, action: Callable[[], T]) -> T:
        """Run one storage action with retries, and translate what it raises."""
        try:
            return with_retries(action)
        except FileExistsError:
            raise
        except STORE_ERRORS as error:
            raise self._explain(verb, key, error) from error

    def _explain(self, verb: str, key: str, error: Exception) -> StorageError:
        """Return the storage error that names location, cause and remedy."""
        what, reason = f"Cannot {verb} {redact(self.uri(key))}", redact_text(reason_of(error))
        if isinstance(error, FileNotFoundError):
            if verb not in ("list", "write"):
                return NotFoundError(f"{what}: nothing is there")
            if self.is_local:
                return NotFoundError(f"{what}: its folder was removed")
            return NotFoundError(
                f"{what}: its bucket does not exist; create it, or check the URL and the endpoint"
            )
        if is_refusal(error):
            return AccessDeniedError(
                f"{what}: access denied ({reason}); check the credentials and rights for this "
                "location"
            )
        if is_passing(error):
            return StorageError(
                f"{what}: it failed several times ({reason}); check that the store is up and "
                "reachable"
            )
        remedy = _REMEDIES.get(getattr(error, "errno", None), "")
        return StorageError(f"{what}: {reason}{remedy}")


def _filesystem(url: str, storage_options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    protocol = protocol_of(url) or "file"
    options = dict(storage_options)
    if protocol in (*LOCAL_PROTOCOLS, *WEB_PROTOCOLS):
        options = {}  # they are those of the object store that the other locations are in
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
        filesystem = fsspec.filesystem(protocol, **options)
    except (ImportError, ValueError) as error:
        raise StorageError(f"Cannot use {protocol}:// locations: {error}") from None
    except TypeError as error:
        raise StorageError(f"Storage options do not fit {protocol}://: {error}") from None
    if protocol in ("s3", "s3a"):
        filesystem.retries = 1  # retried here, once, instead of at three levels
    return filesystem


class _RangeReader(io.RawIOBase):
    """An object of a remote store as a file: every read is one retried request."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        data = self._store.read(self._key, self._at, end)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
