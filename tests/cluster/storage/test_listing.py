"""Listings: complete or an error, on file systems with links, FIFOs and folders without rights."""

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import stamina
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from cluster.storage import listing as reasons
from cluster.storage import local
from cluster.storage.listing import Entry
from cluster.storage.store import Store
from fusion_core.errors import AccessDeniedError, StorageError

NOBODY = 65534


def keys(store: Store) -> list[str]:
    return [entry.key for entry in store.entries()]


def fill(folder: Path, *names: str) -> Store:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return Store(str(folder))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, with a folder `ir` and an image in it."""
    with tempfile.TemporaryDirectory(prefix="irfuse-listing-") as name:
        fill(Path(name), "ir/1.png", "vis/1.png")
        Path(name).chmod(0o755)
        yield Path(name)
        (Path(name) / "ir").chmod(0o755)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up the rights of the superuser, whom no folder refuses."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """Let the reading of one folder fail."""
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path) == folder:
            raise OSError(number, os.strerror(number), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_a_folder_without_rights_is_an_error_with_its_path_reason_and_remedy(
    open_folder: Path,
) -> None:
    (open_folder / "ir").chmod(0)
    with (
        unprivileged(),
        pytest.raises(AccessDeniedError, match=r"list .*/ir: access denied .*check the"),
    ):
        Store(str(open_folder)).entries()


def test_a_folder_whose_files_cannot_be_inspected_is_an_error(open_folder: Path) -> None:
    (open_folder / "ir").chmod(0o444)
    with (
        unprivileged(),
        pytest.raises(AccessDeniedError, match=r"ir/1\.png: access denied"),
    ):
        Store(str(open_folder)).entries()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE])
def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = fill(tmp_path, "ir/1.png", "vis/1.png")
    refuse(monkeypatch, tmp_path / "vis", number)
    with (
        stamina.set_testing(True, attempts=2),
        pytest.raises(StorageError, match=rf"list .*/vis: .*{os.strerror(number)}"),
    ):
        store.entries()


def test_a_folder_that_can_be_read_the_second_time_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path, "ir/1.png")
    scandir, failures = os.scandir, [errno.ESTALE]

    def failing_once(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("/ir") and failures:
            raise OSError(failures.pop(), "stale")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing_once)
    with stamina.set_testing(True, attempts=2):
        assert keys(store) == ["ir/1.png"]


def test_a_folder_of_a_store_that_fsspec_walks_is_listed_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(f"memory://{tmp_path.name}")
    for key in ("ir/1.png", "vis/1.png"):
        store.write(key, b"x")
    monkeypatch.setattr(MemoryFileSystem, "find", AbstractFileSystem.find)
    assert store.entries() == [Entry("ir/1.png", 1), Entry("vis/1.png", 1)]
    assert store.entries("absent") == []
    ls = MemoryFileSystem.ls

    def refusing(fs: object, path: str, **options: object) -> object:
        if path.endswith("/vis"):
            raise PermissionError(errno.EACCES, "denied")
        return ls(fs, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", refusing)
    with pytest.raises(AccessDeniedError, match="/vis: access denied"):
        store.entries()


def test_a_dispensable_folder_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path, "a.png", "lost+found/1")
    refuse(monkeypatch, tmp_path / "lost+found", errno.EACCES)
    listing = store.listing(dispensable=lambda folder: folder == "lost+found")
    assert [entry.key for entry in listing.entries] == ["a.png"]
    assert listing.skipped == {"lost+found": reasons.DISPENSABLE}


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "data", "thermal/1.png", "colour/1.png")
    collection = tmp_path / "collection"
    collection.mkdir()
    (collection / "ir").symlink_to("../data/thermal")
    (collection / "vi").symlink_to(tmp_path / "data/colour")
    assert keys(Store(str(collection))) == ["ir/1.png", "vi/1.png"]


def test_a_folder_to_which_two_links_lead_is_listed_for_both(tmp_path: Path) -> None:
    store = fill(tmp_path, "one/ir/1.png")
    (tmp_path / "two").symlink_to("one")
    assert keys(store) == ["one/ir/1.png", "two/ir/1.png"]


@pytest.mark.parametrize("target", [".", "..", "../a"])
def test_a_link_to_a_folder_above_is_left_out_and_named(tmp_path: Path, target: str) -> None:
    store = fill(tmp_path, "a/1.png")
    (tmp_path / "a/loop").symlink_to(target)
    listing = store.listing()
    assert [entry.key for entry in listing.entries] == ["a/1.png"]
    assert listing.skipped == {"a/loop": reasons.LOOPS}


@pytest.mark.parametrize("target", ["nowhere.png", "link.png", "a.png/b.png"])
def test_a_link_that_leads_nowhere_is_an_object_that_cannot_be_read(
    tmp_path: Path, target: str
) -> None:
    store = fill(tmp_path, "a.png")
    (tmp_path / "link.png").symlink_to(target)
    assert keys(store) == ["a.png", "link.png"]
    with pytest.raises(StorageError, match=r"link\.png: "):
        store.read("link.png")


READ: list[Callable[[Store], object]] = [
    lambda store: store.read("x.png"),
    lambda store: store.read("x.png", 0, 4),
    lambda store: store.open("x.png"),
    lambda store: store.sha256("x.png"),
]


@pytest.mark.parametrize("read", READ, ids=["read", "range", "open", "sha256"])
def test_a_fifo_is_left_out_and_never_opened(
    tmp_path: Path, read: Callable[[Store], object]
) -> None:
    os.mkfifo(tmp_path / "x.png")
    store = Store(str(tmp_path))
    assert store.listing().skipped == {"x.png": reasons.SPECIAL_FILES}
    assert store.entries() == []
    with pytest.raises(StorageError, match=r"x\.png: it is a FIFO .*regular file"):
        read(store)


def test_a_device_is_not_read() -> None:
    with pytest.raises(StorageError, match="/dev/zero: it is a device"):
        Store("/dev").read("zero")


def test_a_name_that_is_not_unicode_is_left_out_alone(tmp_path: Path) -> None:
    store = fill(tmp_path, "ir/1.png")
    Path(os.fsdecode(bytes(tmp_path) + b"/ir/\xff.png")).write_bytes(b"x")
    listing = store.listing()
    assert [entry.key for entry in listing.entries] == ["ir/1.png"]
    assert listing.skipped == {"ir/\udcff.png": reasons.NOT_UNICODE}


def test_a_location_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(StorageError, match=re.escape(r"'/data/\udcff' is not valid Unicode")):
        Store("/data/\udcff")


def test_a_file_is_not_listed_as_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    with pytest.raises(StorageError, match=r"a\.png: it is not a folder; check the path"):
        Store(str(tmp_path / "a.png")).entries()


def test_a_large_folder_is_listed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "MEMBERS_AT_ONCE", 10)
    store = fill(tmp_path, *(f"ir/{n}.png" for n in range(35)), "vis/1.png", "ir/deep/1.png")
    parts = list(store.stream())
    assert max(len(part.entries) for part in parts) < 20
    found = sorted(entry.key for part in parts for entry in part.entries)
    assert found == keys(store)
    assert len(found) == 37


def test_an_object_is_listed_once_after_a_fault_in_the_middle_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reasons, "MEMBERS_AT_ONCE", 10)
    store = fill(tmp_path, *(f"{n}.png" for n in range(35)))
    scan, faults = local.scan_local, [errno.ESTALE]

    def failing_once(path: str) -> Iterator[reasons.Member]:
        for number, member in enumerate(scan(path)):
            if number == 15 and faults:
                raise OSError(faults.pop(), "stale")
            yield member

    monkeypatch.setattr("cluster.storage.store.scan_local", failing_once)
    with stamina.set_testing(True, attempts=2):
        assert len(keys(store)) == 35
    assert not faults
