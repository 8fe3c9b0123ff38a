"""Reading of image files by their full URLs, from any store."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from cluster.storage.images import read_image_file
from cluster.storage.locations import is_local, split_object_url
from cluster.storage.store import Store
from fusion_core.choices import DEFAULT_MAX_PIXELS

_BUFFER_BYTES = 16 * 1024
"""Bytes of one request, which contain the headers of most images."""


class Reader:
    """Reads image files by full URL or absolute path, with one file system per protocol and host.

    Args:
        storage_options: Options of the stores.
        max_pixels: Largest accepted image, which bounds the bytes that are read.
    """

    def __init__(
        self,
        storage_options: Mapping[str, Any] | None = None,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self._max_pixels = max_pixels
        self._options = dict(storage_options or {})
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def read(self, uri: str) -> bytes:
        """Return an image file's bytes.

        Raises:
            NotFoundError: The object does not exist.
            StorageError: The object cannot be read, or is too large.
        """
        store, key = self._locate(uri)
        return read_image_file(store, key, self._max_pixels)

    def open(self, uri: str) -> BinaryIO:
        """Open an image file for random access, to read its header.

        Raises:
            NotFoundError: The object does not exist.
            StorageError: The object cannot be read.
        """
        store, key = self._locate(uri)
        file = store.open(key)
        if store.is_local:
            return file
        return io.BufferedReader(cast(io.RawIOBase, file), _BUFFER_BYTES)

    def _locate(self, uri: str) -> tuple[Store, str]:
        root, key = _split_at_container(uri)
        with self._lock:
            if root not in self._stores:
                self._stores[root] = Store(root, self._options)
            return self._stores[root], key


def _split_at_container(uri: str) -> tuple[str, str]:
    """Split a URL after its bucket or host, a local path after its folder."""
    if is_local(uri):
        return split_object_url(uri.removeprefix("file://").removeprefix("local://"))
    scheme, _, host, *path = uri.split("/", 3)
    return f"{scheme}//{host}", "".join(path)
