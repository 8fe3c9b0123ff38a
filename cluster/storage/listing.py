"""Listings that are complete or an error: no folder is left out because it cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Literal, NamedTuple

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from cluster.storage.locations import is_unicode
from cluster.storage.publishing import TEMPORARY_MARK, modified_in, version_in
from cluster.storage.walking import walk
from fusion_core.errors import StorageError

SPECIAL_FILES = "FIFOs, sockets and devices"
LOOPS = "links to a folder that contains them"
NOT_UNICODE = "names that are not valid Unicode"
DISPENSABLE = "folders that cannot be read and would be ignored"

MEMBERS_AT_ONCE = 4096
"""Number of members of a folder that are read at once."""
_FOLDERS_AT_ONCE = 32
_THREADS = 8

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

    @classmethod
    def joined(cls, parts: Iterable[Listing]) -> Listing:
        """Return a whole listing, in an order that does not depend on the store."""
        entries, skipped = dict[str, Entry](), dict[str, str]()
        for part in parts:
            entries.update((entry.key, entry) for entry in part.entries)
            skipped.update(part.skipped)
        return cls([entry for _, entry in sorted(entries.items())], dict(sorted(skipped.items())))


class Member(NamedTuple):
    """A direct member of a folder."""

    name: str
    kind: Literal["file", "folder", "special"]
    size: int = 0
    version: str = ""
    modified: float | None = None


@dataclass(slots=True)
class _Folder:
    """A folder that is read, in one part or several."""

    key: str
    above: tuple[Identity | None, ...] = ()
    """Identities of the folders that contain it."""
    path: tuple[Identity | None, ...] = ()
    """These and its own, once it is being read."""
    rest: Iterator[Member] | None = None
    """The members that were not read yet."""


@dataclass(frozen=True, slots=True)
class TreeReader:
    """How the folders of a file system are read."""

    scan: Callable[[str], Iterator[Member]]
    """Yields the members of a folder, by its key."""
    call: Callable[[str, Callable[[], list[Member]]], list[Member]]
    """Calls a function that reads the folder of a key, with retries; a `StorageError` means that
    it cannot be read."""
    identify: Callable[[str], Identity | None]
    """Returns the identity of a folder; None where a folder cannot contain itself."""

    def read(self, folder: _Folder) -> list[Member]:
        """Return further members of a folder, some of them again after a fault that passed."""

        def read_on() -> list[Member]:
            rest = self.scan(folder.key) if folder.rest is None else folder.rest
            folder.rest = None  # read from the beginning again if this fails
            members = list(islice(rest, MEMBERS_AT_ONCE))
            folder.rest = rest
            return members

        return self.call(folder.key, read_on)


def walk_tree(
    reader: TreeReader, prefix: str, dispensable: Callable[[str], bool]
) -> Iterator[Listing]:
    """List everything below a folder in parts, and follow links to folders.

    Args:
        reader: How folders are read.
        prefix: Key of the folder.
        dispensable: Whether a folder may be left out if it cannot be read.

    Raises:
        StorageError: A folder that is not dispensable cannot be read.
    """

    def visit(folders: list[_Folder]) -> tuple[Listing, Iterator[list[_Folder]]]:
        listing, further = Listing(), list[list[_Folder]]()
        found: list[tuple[_Folder, list[str]]] = []
        for number, folder in enumerate(folders):
            if len(listing.entries) >= MEMBERS_AT_ONCE:
                further.append(folders[number:])
                break
            own = reader.identify(folder.key)
            if own is not None and own in folder.above:
                listing.skipped[folder.key] = LOOPS
                continue
            folder.path = (*folder.above, own)
            try:
                members = reader.read(folder)
            except StorageError:
                if not dispensable(folder.key):
                    raise
                listing.skipped[folder.key] = DISPENSABLE
                continue
            found.append((folder, _sort_in(members, folder.key, listing)))
            if len(members) == MEMBERS_AT_ONCE:
                further.append([folder])
        return listing, chain(further, *(_inside(*each) for each in found))

    yield from walk([_Folder(prefix)], visit, _THREADS)


def _inside(folder: _Folder, names: Sequence[str]) -> Iterator[list[_Folder]]:
    """Yield the folders in a folder, some at a time; their names alone take little memory."""
    start = f"{folder.key}/" if folder.key else ""
    for first in range(0, len(names), _FOLDERS_AT_ONCE):
        part = names[first : first + _FOLDERS_AT_ONCE]
        yield [_Folder(f"{start}{name}", folder.path) for name in part]


def _sort_in(members: Iterable[Member], folder: str, listing: Listing) -> list[str]:
    """Add the members of a folder to the listing, and return the names of folders among them."""
    folders = []
    start = f"{folder}/" if folder else ""
    for member in members:
        key = f"{start}{member.name}"
        if member.kind == "file":
            listing.add(Entry(key, member.size, member.version, member.modified))
        elif member.kind == "special":
            listing.skipped[key] = SPECIAL_FILES
        else:
            folders.append(member.name)
    return folders


def scan_remote(filesystem: Any, path: str) -> Iterator[Member]:  # noqa: ANN401
    """Yield the members of a folder of an fsspec file system.

    Raises:
        OSError: The folder cannot be read.
    """
    for info in filesystem.ls(path, detail=True):
        name = info["name"].rstrip("/")
        if name != path.rstrip("/"):  # some stores list the folder itself
            kind: Literal["file", "folder"] = "folder" if info["type"] == "directory" else "file"
            size, version = int(info.get("size") or 0), version_in(info)
            last = name.rpartition("/")[2]
            yield Member(last, kind, size, version, modified_in(info))


def lists_at_once(filesystem: Any) -> bool:  # noqa: ANN401
    """Whether an fsspec file system lists a tree with a method of its own.

    The general method of fsspec leaves out the folders that it cannot read.
    """
    general = (AbstractFileSystem.find, AsyncFileSystem._find)
    name = "_find" if filesystem.async_impl else "find"
    return getattr(type(filesystem), name) not in general
