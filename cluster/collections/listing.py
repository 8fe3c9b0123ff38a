"""The files of a folder of images, in which ignored folders need not be readable."""

from __future__ import annotations

from cluster.collections.names import why_ignore_folder
from cluster.storage import Listing, Store


def list_files(store: Store) -> Listing:
    """List a folder of images.

    A folder that cannot be read is an error, unless all files in it would be ignored, such as
    `lost+found`.

    Raises:
        StorageError: The folder, or a folder in it, cannot be listed.
    """
    return store.listing(dispensable=lambda folder: why_ignore_folder(f"{folder}/") is not None)
