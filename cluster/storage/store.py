"""One thin storage type over fsspec, rooted at a URL, with relative keys everywhere.

Objects are published atomically: on remote stores by one PUT, on file systems by write, fsync and
rename. Transient errors (throttling, resets, timeouts) are retried with backoff. All other errors
become one of the storage errors of `fusion_core.errors`, whose message contains the location and
the remedy.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from cluster.storage.explanations import explain
from cluster.storage.filesystems import filesystem_at
from cluster.storage.heads import read_head
from cluster.storage.listing import (
    Entry,
    Listing,
    Member,
    TreeReader,
    lists_at_once,
    scan_remote,
    walk_tree,
)
from cluster.storage.local import identify_folder, scan_local
from cluster.storage.locations import (
    LOCAL_PROTOCOLS,
    check_location,
    is_unicode,
    protocol_of,
    redact,
    split_query,
)
from cluster.storage.publishing import (
    TEMPORARY_MARK,
    ReplacedError,
    link_new,
    modified_in,
    publish_file,
    publish_files,
    replace_version,
    version_in,
    version_of,
)
from cluster.storage.ranges import RangeReader
from cluster.storage.retries import (
    is_transient,
    store_errors,
    with_retries,
)
from fusion_core.errors import NotFoundError, StorageError

T = TypeVar("T")
_STALE_TEMPORARY_S = 3600.0
_PART_BYTES = 8 * 1024 * 1024
_LARGEST_PUT = 5 * 1024**3
"""Largest object that S3 accepts in one PUT. By default s3fs uploads 100 MiB and more in parts, and
fails in its own cleanup when the response to the last request is lost."""


class Store:
    """Objects below one URL: `s3://bucket/prefix`, `gs://…`, a local path, `memory://…`.

    Credentials come from the provider's usual chain; `storage_options` are passed to fsspec. They
    never appear in a message or in any file that is written.

    Raises:
        StorageError: The URL is empty or misspelt, contains a password or a query, or its protocol
            is unknown.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.storage_options = dict(storage_options or {})
        check_location(url)
        if not is_unicode(url):
            raise StorageError(f"The location {redact(url)!r} is not valid Unicode; rename it")
        if split_query(url)[1]:
            raise StorageError(
                f"{redact(url)} has a query, which only the URL of a single file may have"
            )
        self._fs = filesystem_at(url, self.storage_options)
        protocol = protocol_of(url)
        self.is_local = protocol in LOCAL_PROTOCOLS
        self._is_s3 = protocol in ("s3", "s3a")
        self._put_options = {"chunksize": _LARGEST_PUT} if self._is_s3 else {}
        root = self._fs._strip_protocol(url)
        self._root = os.path.abspath(root).rstrip("/") if self.is_local else root.rstrip("/")
        whole = self.is_local or "://" in self._root
        self.url = self._root if whole else f"{protocol}://{self._root.lstrip('/')}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.url, self.storage_options)

    def below(self, key: str) -> Store:
        """Return the store at a folder of this one, which shares its connections."""
        inner = object.__new__(type(self))
        inner.__dict__.update(self.__dict__, _root=self.path(key), url=self.uri(key))
        return inner

    def path(self, key: str) -> str:
        """Return the fsspec path of a key."""
        return f"{self._root}/{key}" if key else self._root

    def uri(self, key: str) -> str:
        """Return the full URL of a key (an absolute path on a local store)."""
        return f"{self.url}/{key}" if key else self.url

    def entries(self, prefix: str = "") -> list[Entry]:
        """Return every object below a folder, sorted by key; a missing folder has none.

        Raises:
            StorageError: The location, or a folder in it, cannot be listed.
        """
        return self.listing(prefix).entries

    def listing(
        self,
        prefix: str = "",
        *,
        dispensable: Callable[[str], bool] = lambda folder: False,
        apart: bool = False,
    ) -> Listing:
        """Return every object below a folder, and what was left out.

        On a local file system, links to folders are followed, and FIFOs, sockets and devices are
        left out. A link that leads nowhere is an object that cannot be read.

        Args:
            prefix: Key of the folder; a missing folder has no objects.
            dispensable: Whether a folder may be left out if it cannot be read.
            apart: Whether the folders in this one are listed one by one in S3, also if they are
                many. It is faster if a folder has hundreds of objects.

        Raises:
            StorageError: The location, or a folder in it that is not dispensable, cannot be
                listed.
        """
        return Listing.joined(self.stream(prefix, dispensable=dispensable, apart=apart))

    def stream(
        self,
        prefix: str = "",
        *,
        dispensable: Callable[[str], bool] = lambda folder: False,
        apart: bool = False,
    ) -> Iterator[Listing]:
        """Yield the parts of a listing while it is made, in any order.

        Several folders are listed at the same time. After a fault that passed, an object may be in
        two parts.

        Args:
            prefix: Key of the folder, as for `listing`.
            dispensable: Whether a folder may be left out if it cannot be read.
            apart: Whether many folders are listed one by one, as for `listing`.

        Raises:
            StorageError: As for `listing`.
        """
        if self._is_s3 and not self._fs.version_aware:
            empty = True
            for part in self._list_pages(prefix, apart=apart):
                empty = empty and not part.entries
                yield part
            if empty:  # it may be an object, or its bucket may be missing
                yield self._list_at_once(prefix)
            return
        if not self.is_local and lists_at_once(self._fs):
            yield self._list_at_once(prefix)
            return
        reader = TreeReader(
            lambda folder: self._scan(folder, missing_ok=folder == prefix),
            lambda folder, read: self._call("list", folder, read),
            lambda folder: identify_folder(self.path(folder)) if self.is_local else None,
        )
        yield from walk_tree(reader, prefix, dispensable)

    def _scan(self, folder: str, *, missing_ok: bool) -> Iterator[Member]:
        path = self.path(folder)
        try:
            yield from scan_local(path) if self.is_local else scan_remote(self._fs, path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _list_pages(self, prefix: str, *, apart: bool) -> Iterator[Listing]:
        from cluster.storage.s3_pages import list_pages

        path = self.path(prefix)
        return list_pages(
            self._fs,
            path,
            self._root,
            lambda request: self._call("list", prefix, request),
            apart=apart,
        )

    def _list_at_once(self, prefix: str) -> Listing:
        found = self._call("list", prefix, lambda: self._find(prefix))
        start = len(self._root) + 1
        listing = Listing()
        for path, info in found.items():
            if info.get("type") != "directory":
                size, version = int(info.get("size") or 0), version_in(info)
                listing.add(Entry(path[start:], size, version, modified_in(info)))
        return listing

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
        """Raise an error if the bucket does not exist, on stores that report it."""
        if self.is_local or "/" not in self._root or "://" in self._root:
            return
        try:
            self._fs.info(self._root.split("/", 1)[0])  # exists() returns False on any error
        except OSError as error:
            # Permission to list a bucket does not imply permission to inspect it; stores raise
            # various errors then.
            if isinstance(error, FileNotFoundError) or is_transient(error):
                raise

    def exists(self, key: str) -> bool:
        """Whether an object exists at a key."""
        return bool(self._call("inspect", key, lambda: self._fs.exists(self.path(key))))

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of an object, or those from `start` up to but excluding `end`.

        Raises:
            NotFoundError: The object does not exist.
            StorageError: The object cannot be read.
        """
        path = self.path(key)
        return bytes(self._call("read", key, lambda: self._fs.cat_file(path, start=start, end=end)))

    def read_head(self, key: str, size: int) -> bytes:
        """Return the first `size` bytes of an object, or all of a shorter one.

        Raises:
            NotFoundError: The object does not exist.
            StorageError: The object cannot be read.
        """
        return self._call("read", key, lambda: read_head(self._fs, self.path(key), size))

    def open(self, key: str) -> BinaryIO:
        """Open an object for random access; see `open_version`."""
        return self.open_version(key)[0]

    def open_version(self, key: str) -> tuple[BinaryIO, str]:
        """Open an object for random access, and return its version, as in its `Entry`, too.

        Each read is retried like any other call. On file systems and S3 all reads return the
        content of this version, or fail if it has been replaced.

        Raises:
            NotFoundError: The object does not exist.
            StorageError: The object cannot be read.
        """
        path = self.path(key)
        if self.is_local:
            opened: BinaryIO = self._call("read", key, lambda: self._fs.open(path, "rb"))
            return opened, version_of(os.fstat(opened.fileno()))
        if self._is_s3:
            size, version, fetch = self._call("read", key, lambda: self._fs.open_version(path))
        else:
            info = self._call("read", key, lambda: self._fs.info(path))
            size, version = info["size"], version_in(info)

            def fetch(start: int, end: int) -> bytes:
                return bytes(self._fs.cat_file(path, start=start, end=end))

        reader = RangeReader(lambda a, b: self._call("read", key, lambda: fetch(a, b)), int(size))
        return cast(BinaryIO, reader), version

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of an object, which is read in chunks.

        Raises:
            StorageError: The object cannot be read.
        """
        digest = hashlib.sha256()
        with self.open(key) as file:
            while part := file.read(_PART_BYTES):
                digest.update(part)
        return digest.hexdigest()

    def write(self, key: str, data: bytes) -> None:
        """Publish an object atomically, and replace an existing one.

        Raises:
            StorageError: The object cannot be written; an existing object is left unchanged.
        """
        if self.is_local:
            self._call("write", key, lambda: publish_file(Path(self.path(key)), data, os.replace))
        else:
            self._call("write", key, lambda: self._put(key, data))

    def write_all(self, objects: Mapping[str, bytes], *, scratch: str = "") -> None:
        """Publish objects, each atomically, and replace existing ones.

        On file systems this is faster than to `write` one by one, because they are synced together.

        Args:
            objects: The content of each object.
            scratch: Folder for temporary files on file systems, which a killed writer leaves there.

        Raises:
            StorageError: An object cannot be written; others may have been.
        """
        if not objects:
            return
        if self.is_local:
            files = {Path(self.path(key)): data for key, data in objects.items()}
            folder = Path(self.path(scratch))
            self._call("write", next(iter(objects)), lambda: publish_files(files, folder))
        else:
            for key, data in objects.items():
                self.write(key, data)

    def create(self, key: str, data: bytes | memoryview) -> Entry | None:
        """Publish an object only if none exists.

        On stores without conditional writes two writers at the same time may both succeed.

        Returns:
            The object as a listing gives it, with an empty version if the store does not tell it;
            None if another one exists already.

        Raises:
            StorageError: The object cannot be written.
        """
        path = Path(self.path(key))
        try:
            if self.is_local:
                version = self._call("write", key, lambda: publish_file(path, data, link_new))
            else:
                version = self._call("write", key, lambda: self._create_remote(key, data))
        except FileExistsError:
            # A retried PUT may have found the object of its own first attempt.
            return self._equal(key, data)
        return Entry(key, len(data), version)

    def replace(self, key: str, data: bytes | memoryview, version: str) -> Entry | None:
        """Publish an object only in place of a version of it.

        On stores other than file systems and S3 the check and the write are two steps, between
        which another writer may replace the object.

        Args:
            key: Key of the object.
            data: The new content.
            version: The version that is replaced, as `entries` or `open_version` return it.

        Returns:
            The object as a listing gives it, with an empty version if the store does not tell it;
            None if the version is not there any more.

        Raises:
            StorageError: The object cannot be written.
        """
        publish = replace_version(version)
        path = Path(self.path(key))
        try:
            if self.is_local:
                new = self._call("write", key, lambda: publish_file(path, data, publish))
            else:
                new = self._call("write", key, lambda: self._replace_remote(key, data, version))
        except ReplacedError:
            # A repeated PUT may have found the object of its own first attempt.
            return self._equal(key, data)
        return Entry(key, len(data), new)

    def _equal(self, key: str, data: bytes | memoryview) -> Entry | None:
        """Return an object if it exists and holds these bytes."""
        try:
            file, version = self.open_version(key)
        except NotFoundError:
            return None
        with file:
            return Entry(key, len(data), version) if file.read() == data else None

    def _put(self, key: str, data: bytes | memoryview, **options: str) -> str:
        """Publish an object of a remote store, and return its version if the store tells it."""
        content = data if self._is_s3 else bytes(data)
        answer = self._fs.pipe_file(self.path(key), content, **options, **self._put_options)
        return version_in(answer) if isinstance(answer, Mapping) else ""

    def _replace_remote(self, key: str, data: bytes | memoryview, version: str) -> str:
        # Checked first for stores that ignore the condition of the request.
        if self._current_version(key) != version:
            raise ReplacedError(key)
        try:
            return self._put(key, data, **({"IfMatch": version} if self._is_s3 else {}))
        except OSError as error:
            # s3fs translates a failed precondition to EINVAL, or to FileNotFoundError.
            conflict = isinstance(error, FileNotFoundError) or error.errno == errno.EINVAL
            if conflict and self._current_version(key) != version:
                raise ReplacedError(key) from error
            raise

    def _current_version(self, key: str) -> str | None:
        try:
            return version_in(self._fs.info(self.path(key)))
        except FileNotFoundError:
            return None

    def _create_remote(self, key: str, data: bytes | memoryview) -> str:
        try:
            return self._put(key, data, mode="create")
        except OSError as error:
            # s3fs translates the response of some servers to a failed precondition to EINVAL.
            if error.errno == errno.EINVAL and self._fs.exists(self.path(key)):
                raise FileExistsError(key) from error
            raise

    def delete(self, key: str) -> None:
        """Remove an object if it exists."""
        try:
            self._call("delete", key, lambda: self._fs.rm_file(self.path(key)))
        except NotFoundError:
            return

    def remove_stale_temporaries(self, prefix: str = "") -> None:
        """Remove temporary files that killed writers left on a file system over an hour ago."""
        if not self.is_local:
            return
        deadline = time.time() - _STALE_TEMPORARY_S
        for path in Path(self.path(prefix)).glob(f"*{TEMPORARY_MARK}*"):
            # Another driver may be publishing the file, or its owner may be another user.
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < deadline:
                    path.unlink()

    def _call(self, verb: str, key: str, action: Callable[[], T]) -> T:
        """Run one storage action with retries, and translate its errors."""
        try:
            return with_retries(action, verb)
        except (FileExistsError, ReplacedError):
            raise
        except store_errors() as error:
            path = Path(self.path(key)) if self.is_local else None
            raise explain(verb, self.uri(key), error, local_path=path) from error
