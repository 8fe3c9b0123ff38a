"""The images of a folder, for training and its evaluation."""

from __future__ import annotations

from cluster.collections import is_image, list_files
from cluster.storage import Entry, Store
from fusion_core.errors import NotFoundError
from jobs.progress import Progress


def list_images(store: Store, progress: Progress) -> list[Entry]:
    """Return the images of a folder in the order of their names, and report what is left out.

    Raises:
        NotFoundError: There are no images.
        StorageError: The folder cannot be listed.
    """
    listing = list_files(store)
    if listing.skipped:
        first, reason = next(iter(listing.skipped.items()))
        progress.note(f"Not used: {len(listing.skipped)} files such as {first} ({reason})")
    entries = [entry for entry in listing.entries if is_image(entry.key)]
    if not entries:
        raise NotFoundError(
            f"There are no images in {store.url}; expected files such as .jpg or .png in this "
            "folder or its subfolders"
        )
    return entries
