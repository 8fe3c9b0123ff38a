"""Listings that are complete or an error: no folder is left out because it cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from cluster.storage.locations import is_unicode
from cluster.storage.publishing import TEMPORARY_MARK, modified_in, version_in
from fusion_core.errors import StorageError

SPECIAL_FILES = "FIFOs, sockets and devices"
LOOPS = "links to a folder that contains them"
NOT_UNICODE = "names that are not valid Unicode"
DISPENSABLE = "folders that cannot be read and would be ignored"

Identity = tuple[int, int]
"""Device and number of a folder."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    key: str
    """Path relative to the store's root, with `/` between folders."""
    size: int
    """Size in bytes."""
    version: str = field(default="", compare=False)
    """Mark of the object's content, which changes when it is replaced: its ETag on object stores,
    its time of change and size on file systems. Empty if the store has none."""
    modified: float | None = field(default=None, compare=False)
    """Time of the last change in seconds since 1970; None if the store does not tell it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects below a folder, and what was left out."""

    entries: list[Entry] = field(default_factory=list)
    """All objects with a valid name, sorted by key."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Keys that are not objects, or whose names are invalid, with the reason."""

    def add(self, entry: Entry) -> None:
        """Add an object, unless it is a temporary file or its name is invalid."""
        if TEMPORARY_MARK in entry.key:
            return
        if is_unicode(entry.key):
            self.entries.append(entry)
        else:
            self.skipped[entry.key] = NOT_UNICODE

    def sorted(self) -> Listing:
        """Return the listing in an order that does not depend on the store."""
        entries = sorted(self.entries, key=lambda entry: entry.key)
        return Listing(entries, dict(sorted(self.skipped.items())))


class Member(NamedTuple):
    """A direct member of a folder."""

    name: str
    kind: Literal["file", "folder", "special"]
    size: int = 0
    version: str = ""
    identity: Identity | None = None
    """Identity of a folder; None where a folder cannot contain itself."""
    modified: float | None = None


class _Folder(NamedTuple):
    key: str
    path: tuple[Identity | None, ...]
    """Identities of the folder and of those that contain it."""


def list_tree(
    scan: Callable[[str], list[Member]],
    prefix: str,
    dispensable: Callable[[str], bool],
    identity: Identity | None,
) -> Listing:
    """List everything below a folder, and follow links to folders.

    Args:
        scan: Returns the members of a folder by its key; a `StorageError` means that it cannot.
        prefix: Key of the folder.
        dispensable: Whether a folder may be left out if it cannot be read.
        identity: Identity of the folder at `prefix`.

    Raises:
        StorageError: A folder that is not dispensable cannot be read.
    """
    listing = Listing()
    waiting = [_Folder(prefix, (identity,))]
    while waiting:
        folder = waiting.pop()
        try:
            members = scan(folder.key)
        except StorageError:
            if not dispensable(folder.key):
                raise
            listing.skipped[folder.key] = DISPENSABLE
        else:
            waiting += _sort_in(members, folder, listing)
    return listing.sorted()


def _sort_in(members: list[Member], folder: _Folder, listing: Listing) -> Iterator[_Folder]:
    """Add the members of a folder to the listing, and yield the folders among them."""
    for member in members:
        key = f"{folder.key}/{member.name}" if folder.key else member.name
        if member.kind == "file":
            listing.add(Entry(key, member.size, member.version, member.modified))
        elif member.kind == "special":
            listing.skipped[key] = SPECIAL_FILES
        elif member.identity is not None and member.identity in folder.path:
            listing.skipped[key] = LOOPS
        else:
            yield _Folder(key, (*folder.path, member.identity))


def scan_remote(filesystem: Any, path: str) -> list[Member]:  # noqa: ANN401
    """Return the members of a folder of an fsspec file system.

    Raises:
        OSError: The folder cannot be read.
    """
    members = []
    for info in filesystem.ls(path, detail=True):
        name = info["name"].rstrip("/")
        if name != path.rstrip("/"):  # some stores list the folder itself
            kind: Literal["file", "folder"] = "folder" if info["type"] == "directory" else "file"
            size, version = int(info.get("size") or 0), version_in(info)
            last = name.rpartition("/")[2]
            members.append(Member(last, kind, size, version, modified=modified_in(info)))
    return members


def lists_at_once(filesystem: Any) -> bool:  # noqa: ANN401
    """Whether an fsspec file system lists a tree with a method of its own.

    The general method of fsspec leaves out the folders that it cannot read.
    """
    general = (AbstractFileSystem.find, AsyncFileSystem._find)
    name = "_find" if filesystem.async_impl else "find"
    return getattr(type(filesystem), name) not in general
