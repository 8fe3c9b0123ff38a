"""The images of a folder, for training and its evaluation."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.progress import RecordedProgress

from cluster.storage.store import Store
from fusion_core.errors import AccessDeniedError, NotFoundError
from jobs.image_folders import list_images


def keys(folder: Path, progress: RecordedProgress) -> list[str]:
    return [entry.key for entry in list_images(Store(str(folder)), progress)]


def fill(folder: Path, *names: str) -> None:
    for name in names:
        Store(str(folder)).write(name, b"x")


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_images_are_listed_without_labels_and_other_files(tmp_path: Path) -> None:
    fill(tmp_path, "b.png", "a/1.jpg", "labels/1.png", "readme.txt")
    progress = RecordedProgress()
    assert (keys(tmp_path, progress), progress.notes) == (["a/1.jpg", "b.png"], [])


def test_a_fifo_is_left_out_and_reported(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    progress = RecordedProgress()
    assert keys(tmp_path, progress) == ["a.png"]
    assert progress.notes == ["Not used: 1 files such as b.png (FIFOs, sockets and devices)"]


def test_a_folder_without_images_is_a_clear_error(tmp_path: Path) -> None:
    fill(tmp_path, "readme.txt")
    with pytest.raises(NotFoundError, match=r"no images in .*expected files such as \.jpg"):
        keys(tmp_path, RecordedProgress())


@pytest.mark.parametrize("name", ["lost+found", ".cache"])
def test_an_ignored_folder_need_not_be_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(tmp_path, "a.png", f"{name}/b.png")
    refuse(monkeypatch, tmp_path / name)
    assert keys(tmp_path, RecordedProgress()) == ["a.png"]


def test_any_other_folder_must_be_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.png", "more/b.png")
    refuse(monkeypatch, tmp_path / "more")
    with pytest.raises(AccessDeniedError, match="/more: access denied"):
        keys(tmp_path, RecordedProgress())
