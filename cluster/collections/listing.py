"""The files of a folder of images, in which ignored folders need not be readable."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.collections.names import why_ignore_folder
from cluster.storage import Listing, Store


def list_files(store: Store) -> Listing:
    """List a folder of images.

    A folder that cannot be read is an error, unless all files in it would be ignored, such as
    `lost+found`.

    Raises:
        StorageError: The folder, or a folder in it, cannot be listed.
    """
    return store.listing(dispensable=_is_dispensable)


def _is_dispensable(folder: str) -> bool:
    return why_ignore_folder(f"{folder}/") is not None


class FileStream:
    """The files of a folder of images, in any order, which are listed while they are read.

    Args:
        store: The folder.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.count = 0
        """Number of files so far."""
        self.skipped: dict[str, str] = {}
        """What was left out so far, with the reason."""

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield the path and the size of each file.

        Raises:
            StorageError: The folder, or a folder in it, cannot be listed.
        """
        for part in self._store.stream(dispensable=_is_dispensable):
            self.skipped.update(part.skipped)
            self.count += len(part.entries)
            yield from ((entry.key, entry.size) for entry in part.entries)
        self.skipped = dict(sorted(self.skipped.items()))
