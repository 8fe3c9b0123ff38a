"""The search for runs below a location, by one listing of everything there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cluster.runs.plan import parse_shard_key
from cluster.runs.record import RUN_KEY
from cluster.storage import Entry, Store


@dataclass(slots=True)
class RunListing:
    """The objects of one run, as a listing shows them."""

    shards: list[Entry] = field(default_factory=list)
    """The objects of its shards, with keys relative to the run."""
    size: int = 0
    """Bytes of the shards."""
    committed: float | None = None
    """Time at which the last shard was committed, in seconds since 1970."""
    changed: float | None = None
    """Time at which any object of the run was last written."""
    keys: list[str] = field(default_factory=list)
    """Keys of all other objects, relative to the run."""

    def add(self, key: str, entry: Entry) -> None:
        """Add an object.

        Args:
            key: Its key, relative to the run.
            entry: Its entry in the listing.
        """
        self.changed = _later(self.changed, entry.modified)
        if parse_shard_key(key) is None:
            self.keys.append(key)
            return
        self.shards.append(replace(entry, key=key))
        self.size += entry.size
        self.committed = _later(self.committed, entry.modified)


def find_runs(store: Store, depth: int) -> dict[str, RunListing]:
    """Find the runs below a location: the folders that contain `run.json`.

    Folders of a file system that cannot be read are left out.

    Args:
        store: The location.
        depth: Largest number of folders between the location and `run.json`.

    Returns:
        The runs by their keys in the sequence of their names; the key of a run at the location
        itself is empty.

    Raises:
        StorageError: The location cannot be listed.
    """
    entries = store.listing(dispensable=lambda folder: folder != "", apart=True).entries
    found = {
        folder: RunListing()
        for folder, name in (_split(entry.key) for entry in entries)
        if name == RUN_KEY and _depth(folder) <= depth
    }
    for entry in entries:
        folder = _run_of(entry.key, found)
        if folder is not None:
            found[folder].add(entry.key[len(folder) :].lstrip("/"), entry)
    return dict(sorted(found.items()))


def _run_of(key: str, found: dict[str, RunListing]) -> str | None:
    """Return the key of the innermost run that contains an object."""
    folder = _split(key)[0]
    while folder not in found:
        if not folder:
            return None
        folder = _split(folder)[0]
    return folder


def _split(key: str) -> tuple[str, str]:
    folder, _, name = key.rpartition("/")
    return folder, name


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0


def _later(a: float | None, b: float | None) -> float | None:
    return max((time for time in (a, b) if time is not None), default=None)
