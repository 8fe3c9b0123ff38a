"""Reading of objects by their full URLs, from any store."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from cluster.storage.locations import is_local, split_object_url
from cluster.storage.store import Store


class Reader:
    """Reads objects by full URL or absolute path, with one file system instance per protocol."""

    def __init__(self, storage_options: Mapping[str, Any] | None = None) -> None:
        self._options = dict(storage_options or {})
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def read(self, uri: str) -> bytes:
        """Return an object's bytes.

        Raises:
            NotFoundError: The object does not exist.
            StorageError: The object cannot be read.
        """
        root, key = _split_at_container(uri)
        with self._lock:
            if root not in self._stores:
                self._stores[root] = Store(root, self._options)
            store = self._stores[root]
        return store.read(key)


def _split_at_container(uri: str) -> tuple[str, str]:
    """Split a URL after its bucket or host, a local path after its folder."""
    if is_local(uri):
        return split_object_url(uri.removeprefix("file://").removeprefix("local://"))
    scheme, _, host, *path = uri.split("/", 3)
    return f"{scheme}//{host}", "".join(path)
