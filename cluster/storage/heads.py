"""The first bytes of an object whose size is not known, without reading what follows them."""

from __future__ import annotations

import errno
import os
from typing import Any

from cluster.storage.locations import LOCAL_PROTOCOLS, WEB_PROTOCOLS


def read_head(filesystem: Any, path: str, size: int) -> bytes:  # noqa: ANN401
    """Return the first bytes of an object, or all of a shorter one.

    Args:
        filesystem: The fsspec file system of the object.
        path: Path of the object.
        size: Largest number of bytes to read.

    Raises:
        Exception: Any error of the file system.
    """
    protocols = filesystem.protocol
    protocol = protocols if isinstance(protocols, str) else protocols[0]
    if protocol in LOCAL_PROTOCOLS:
        with filesystem.open(path, "rb") as file:
            # The buffer of the requested size is allocated first.
            return bytes(file.read(min(size, os.fstat(file.fileno()).st_size + 1)))
    if protocol in WEB_PROTOCOLS:
        return _read_stream(filesystem, path, size)
    try:
        return bytes(filesystem.cat_file(path, start=0, end=size))
    except OSError as error:
        # S3 refuses every range of an empty object.
        if error.errno != errno.EINVAL or filesystem.info(path)["size"]:
            raise
        return b""


def _read_stream(filesystem: Any, path: str, size: int) -> bytes:  # noqa: ANN401
    """Read a response part by part, because web servers may ignore a range and send everything."""
    head = bytearray()
    # The size is never used, but without it another request would ask for it.
    with filesystem.open(path, "rb", block_size=0, size=size) as response:
        while len(head) < size:
            part = response.read(size - len(head))
            if not part:
                break
            head += part
    return bytes(head)
