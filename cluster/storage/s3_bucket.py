"""The objects of an S3 bucket, which obstore reads and writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from cluster.storage.s3_errors import s3fs_error, status_of

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta, PutMode, PutResult

T = TypeVar("T")

# The thread that asks waits for its request; these only move bytes. By default each process, of
# which a node has many, starts one per core. obstore reads the variable at its first request.
os.environ.setdefault("TOKIO_WORKER_THREADS", str(min(4, os.cpu_count() or 1)))


class UnusableKeyError(ValueError):
    """obstore would send a request for another key, or none."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, of which obstore reads and writes objects; its errors are those of s3fs."""

    store: S3Store
    """The connections of obstore."""
    url: str
    """Address of the bucket."""
    region: str
    """Region that the requests are signed for."""

    def get(
        self,
        key: str,
        start: int | None,
        end: int | None,
        *,
        etag: str | None = None,
        largest: int | None = None,
    ) -> bytes | None:
        """Return the bytes of an object, or those from `start` up to but excluding `end`.

        Args:
            key: Key of the object.
            start: First byte; None for the beginning.
            end: Byte after the last one; None for the end.
            etag: ETag of the only version that is read.
            largest: Size of the largest object that is read; the result is None for others.
        """
        options: GetOptions = {}
        if end is not None:
            options["range"] = (start or 0, end)
        elif start is not None:
            options["range"] = {"offset": start}
        if etag:
            options["if_match"] = etag

        def read() -> bytes | None:
            result = obstore.get(self.store, key, options=options)
            if largest is not None and result.meta["size"] > largest:
                return None
            return bytes(result.bytes())

        return self._ask("GET", key, read)

    def head(self, key: str) -> ObjectMeta:
        """Return what the store says about an object."""
        return self._ask("HEAD", key, lambda: obstore.head(self.store, key))

    def put(self, key: str, data: bytes | memoryview, mode: PutMode) -> PutResult:
        """Write an object with one request."""
        return self._ask(
            "PUT",
            key,
            lambda: obstore.put(self.store, key, data, mode=mode, use_multipart=False),
        )

    def _ask(self, method: str, key: str, request: Callable[[], T]) -> T:
        if key != key.strip("/"):
            raise UnusableKeyError(key)
        try:
            return request()
        except ValueError:
            raise UnusableKeyError(key) from None
        except (BaseError, FileNotFoundError) as error:
            failure = s3fs_error(error, method, f"{self.url}/{key}")
            if (
                isinstance(error, AlreadyExistsError)
                and status_of(failure) == HTTPStatus.PRECONDITION_FAILED
            ):
                failure = FileExistsError(key)
        raise failure  # not from the error of obstore: its cause is the response of the server
