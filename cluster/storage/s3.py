"""S3: obstore reads and writes the objects, and s3fs does everything else.

A request of s3fs takes four to seven times as much processor time, all of it in one thread.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.asyn import sync
from s3fs import S3FileSystem
from s3fs.utils import FileExpired

from cluster.storage.publishing import version_in
from cluster.storage.retries import is_transient
from cluster.storage.s3_bucket import Bucket, UnusableKeyError
from cluster.storage.s3_errors import OtherRegionError, UnknownFailureError, headers_of, status_of
from cluster.storage.s3_settings import connect_bucket

if TYPE_CHECKING:
    from obstore import ObjectMeta

T = TypeVar("T")
Fetch = Callable[[int, int], bytes]

LOGGER = logging.getLogger("irfuse.storage")

_LARGEST_PUT = 8 * 1024**2
"""obstore counts the time for sending an object in the limit for the response; s3fs does not."""


class _Process:
    """Whether obstore works in this process."""

    used = False
    lost = False

    @classmethod
    def forked(cls) -> None:
        """Give obstore up in the child of a process that has used it: its threads are not there."""
        cls.lost = cls.used


os.register_at_fork(after_in_child=_Process.forked)


class S3Files(S3FileSystem):  # type: ignore[misc]
    """The file system of s3fs, of which obstore reads and writes objects where it can.

    Args:
        obstore: Whether obstore may be used.
        options: Options of s3fs.
    """

    def __init__(self, *, obstore: bool = True, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._use_obstore = obstore
        self._buckets: dict[str, Bucket | None] = {}
        self._connecting = threading.Lock()

    def cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> bytes:
        """Return the bytes of an object, or those from `start` up to but excluding `end`."""

        def slow() -> bytes:
            return bytes(sync(self.loop, self._cat_file, path, start=start, end=end, **options))

        first = start or 0
        if options or first < 0 or (end is not None and end <= first):
            return slow()
        whole = start is None and end is None
        # s3fs reads the parts of a large object side by side.
        largest = self.default_block_size if whole and self.max_concurrency > 1 else None
        data = self._do(path, lambda at, key: at.get(key, start, end, largest=largest), slow)
        return slow() if data is None else data

    def open_version(self, path: str) -> tuple[int, str, Fetch]:
        """Return the size and the ETag of an object, and a function that reads this version.

        The function returns the bytes from a position up to but excluding another. It raises
        `FileExpired` after the object has been replaced or removed.
        """
        opened: list[Any] = []
        if self._bucket(self.split_path(path)[0]) is None:
            opened.append(self.open(path, "rb", cache_type="none"))
        details = opened[0].details if opened else self.info(path)
        version, etag = version_in(details), details.get("ETag")

        def slow(start: int, end: int) -> bytes:
            if not opened:
                opened.append(self.open(path, "rb", cache_type="none"))
            file = opened[0]
            if version_in(file.details) != version:
                raise FileExpired(path, version)
            file.seek(start)
            return bytes(file.read(end - start))

        def fetch(start: int, end: int) -> bytes:
            try:
                data = self._do(
                    path, lambda at, key: at.get(key, start, end, etag=etag), lambda: None
                )
            except OSError as error:
                if status_of(error) == HTTPStatus.PRECONDITION_FAILED:
                    raise FileExpired(path, version) from error
                raise
            return slow(start, end) if data is None else data

        return int(details["size"]), version, fetch

    def pipe_file(
        self,
        path: str,
        value: bytes | memoryview,
        mode: str = "overwrite",
        **options: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Write an object, and return the response of the store, which contains its ETag."""

        def slow() -> dict[str, Any]:
            answer = sync(self.loop, self._pipe_file, path, bytes(value), mode=mode, **options)
            return answer or {}  # nothing after an upload in parts

        if len(value) > _LARGEST_PUT or options.keys() - {"IfMatch", "chunksize"}:
            return slow()
        put_mode: Any = {"e_tag": options["IfMatch"]} if "IfMatch" in options else mode

        def fast(bucket: Bucket, key: str) -> dict[str, Any]:
            answer = {"ETag": bucket.put(key, value, put_mode)["e_tag"]}
            self.invalidate_cache(path)
            return answer

        return self._do(path, fast, slow)

    def info(self, path: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return what is known of an object or folder."""

        def slow() -> dict[str, Any]:
            found: dict[str, Any] = sync(self.loop, self._info, path, **options)
            return found

        bucket, key, _ = self.split_path(path)
        if options or not key:
            return slow()
        try:
            found: ObjectMeta | None = self._do(path, Bucket.head, lambda: None)
        except FileNotFoundError:
            return slow()  # a folder, perhaps
        if found is None:
            return slow()
        return {
            "name": f"{bucket}/{key}",
            "type": "file",
            "size": found["size"],
            "ETag": found["e_tag"],
            "LastModified": found["last_modified"],
        }

    def _do(self, path: str, fast: Callable[[Bucket, str], T], slow: Callable[[], T]) -> T:
        """Do something with obstore if it can, otherwise with s3fs."""
        name, key, _ = self.split_path(path)
        bucket = self._bucket(name)
        if bucket is None:
            return slow()
        try:
            return fast(bucket, key)
        except UnusableKeyError:
            return slow()
        except OtherRegionError:
            self._buckets[name] = self._relocated(name, bucket.region)
            return self._do(path, fast, slow)
        except UnknownFailureError as error:
            done = slow()
            LOGGER.debug("s3fs alone reads and writes s3://%s from now on: %s", name, error)
            self._buckets[name] = None
            return done

    def _bucket(self, name: str) -> Bucket | None:
        if _Process.lost or not self._use_obstore:
            return None
        with self._connecting:
            if name not in self._buckets:
                self._buckets[name] = bucket = connect_bucket(self, name)
                _Process.used |= bucket is not None
            return self._buckets[name]

    def _relocated(self, name: str, region: str) -> Bucket | None:
        """Return the bucket in the region where it is, None if s3fs does not find that out."""
        try:
            headers = self.call_s3("head_bucket", Bucket=name)["ResponseMetadata"]["HTTPHeaders"]
        except OSError as error:
            if is_transient(error):
                raise
            headers = headers_of(error)  # the region is told without permission, too
        found = headers.get("x-amz-bucket-region")
        LOGGER.debug("s3://%s is not in the region %s, but %s", name, region, found)
        return None if found in (None, region) else connect_bucket(self, name, found)
