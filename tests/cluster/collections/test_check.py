"""The check of a collection by the headers of its images."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from support.collections import write_pairs
from support.reference_files import deep_png, noise, pillow_file, tiff_file
from support.s3 import S3Server

from cluster.collections.check import CollectionCheck, check_pairs
from cluster.collections.discovery import discover
from cluster.collections.user_manifest import read_user_manifest
from cluster.storage.reader import Reader
from cluster.storage.store import Store
from fusion_core.images import Bands
from fusion_core.images.encoding import encode_png


def check(store: Store) -> CollectionCheck:
    return check_pairs(discover(store).batches(), Reader(store.storage_options))


def reasons(found: CollectionCheck) -> dict[str, str]:
    return {problem.pair_id: problem.reason for problem in found.problems}


def test_sizes_depths_and_colours_are_counted(tmp_path: Path) -> None:
    store = write_pairs(tmp_path, 3)  # the first visible image is gray
    store.write("ir/0003.png", deep_png(noise(8, 9, dtype=np.uint16)))
    store.write("vis/0003.png", pillow_file(noise(8, 9, 3), "PNG"))
    found = check(store)
    assert found.pairs == 4
    assert found.sizes == {"64x48": 1, "57x33": 1, "48x64": 1, "9x8": 1}
    assert found.infrared == {"8-bit gray": 3, "16-bit gray": 1}
    assert found.visible == {"8-bit gray": 1, "8-bit RGB": 3}
    assert (found.bad, found.problems) == ({}, [])


def test_pairs_that_cannot_be_fused_are_named_with_their_reason(tmp_path: Path) -> None:
    store = write_pairs(tmp_path, 6)
    store.write("vis/0001.png", encode_png(np.zeros((5, 7), np.uint8)))
    store.write("ir/0002.png", b"")
    store.write("vis/0003.png", b"<html>")
    (tmp_path / "ir/0004.png").unlink()
    (tmp_path / "ir/0004.png").symlink_to("nowhere")
    found = check(store)
    assert (found.bad, found.sizes.total()) == ({"of different sizes": 1, "unreadable": 3}, 2)
    assert reasons(found)["0001"] == "infrared 57x33, visible 7x5"
    assert reasons(found)["0002"].startswith("infrared image: The file is empty")
    assert reasons(found)["0003"].startswith("visible image: The file is HTML")
    assert "ir/0004.png: it does not exist" in reasons(found)["0004"]


def test_bytes_are_those_of_all_files_whose_headers_could_be_read(tmp_path: Path) -> None:
    store = write_pairs(tmp_path, 2)
    store.write("vis/0001.png", b"<html>")
    readable = ("ir/0000.png", "vis/0000.png", "ir/0001.png")
    assert check(store).bytes == sum(len(store.read(key)) for key in readable)


def test_one_file_of_both_images_needs_four_channels(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a.png", pillow_file(noise(8, 9, 4), "PNG"))
    store.write("b.png", pillow_file(noise(8, 9, 3), "PNG"))
    bands = tiff_file(noise(8, 9, 9), photometric="minisblack", planarconfig="contig")
    store.write("c.tif", bands)
    store.write("d.png", b"")
    rows = ["ir_uri,vis_uri", *(f"{name},{name}" for name in ("a.png", "b.png", "c.tif"))]
    store.write("list.csv", "\n".join([*rows, "d.png,"]).encode())
    found = check_pairs(read_user_manifest(store, "list.csv"), Reader())
    assert found.visible == {"8-bit, four channels": 1, "8-bit RGB": 1, "8-bit, 9 bands": 1}
    assert "Expected 4 channels" in reasons(found)["b"]
    assert "select a band with --band" in reasons(found)["c"]
    assert reasons(found).keys() == {"b", "c", "d"}
    batches = read_user_manifest(store, "list.csv")
    selected = check_pairs(batches, Reader(), bands=Bands(ir="9", vis="1,2,3"))
    assert "There is no band '9': the image has 4" in reasons(selected)["a"]
    assert reasons(selected).keys() == {"a", "b", "d"}


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_files_that_are_cut_off_are_found_and_files_with_more_than_an_image_are_not(
    tmp_path: Path, file_format: str
) -> None:
    store = write_pairs(tmp_path, 3)
    whole = pillow_file(noise(48, 64), file_format)
    for number, data in enumerate((whole, whole + b"and more", whole[: len(whole) * 2 // 3])):
        store.write(f"ir/{number:04}.png", data)
        store.write(f"vis/{number:04}.png", whole)
    found = check(store)
    assert found.sizes.total() == 2
    assert re.match("infrared image: The .*image is damaged", reasons(found)["0002"])


def test_sizes_are_judged_as_a_run_with_the_same_options_does(tmp_path: Path) -> None:
    store = write_pairs(tmp_path, 1)
    store.write("ir/0000.png", encode_png(noise(10, 20)))
    batches = list(discover(store).batches())
    assert check_pairs(batches, Reader()).bad == {"of different sizes": 1}
    resized = check_pairs(batches, Reader(), resize="smaller", max_pixels=64 * 48)
    assert resized.sizes == {"infrared 20x10 and visible 64x48": 1}
    small = check_pairs(batches, Reader(), resize="smaller", max_pixels=64 * 48 - 1)
    assert "increase --max-pixels" in reasons(small)["0000"]


def test_a_fifo_is_not_opened(tmp_path: Path) -> None:
    store = write_pairs(tmp_path, 1)
    batches = list(discover(store).batches())
    (tmp_path / "ir/0000.png").unlink()
    os.mkfifo(tmp_path / "ir/0000.png")
    assert "it is a FIFO" in reasons(check_pairs(batches, Reader()))["0000"]


def test_headers_on_s3_are_read_without_the_pixels(
    s3_moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(f"s3://{s3_moto.new_bucket()}", s3_moto.storage_options)
    large = encode_png(noise(400, 500))
    for number in range(40):
        store.write(f"ir/{number}.png", large)
        store.write(f"vis/{number}.png", large)
    read = 0
    read_part = Store.open_version

    def counting(self: Store, key: str) -> object:
        nonlocal read
        file, version = read_part(self, key)
        fetch = file._fetch

        def fetch_and_count(start: int, end: int) -> bytes:
            nonlocal read
            read += end - start
            return fetch(start, end)

        file._fetch = fetch_and_count
        return file, version

    monkeypatch.setattr(Store, "open_version", counting)
    found = check(store)
    assert (found.pairs, found.sizes) == (40, {"500x400": 40})
    assert 0 < read <= 80 * 32 * 1024 < 80 * len(large)


def test_the_number_of_problems_that_are_kept_is_limited(tmp_path: Path) -> None:
    rows = [f"{number},/absent/{number}.png,/absent/{number}.png" for number in range(300)]
    (tmp_path / "list.csv").write_text("\n".join(["pair_id,ir_uri,vis_uri", *rows]))
    done: list[int] = []
    store = Store(str(tmp_path))
    found = check_pairs(read_user_manifest(store, "list.csv"), Reader(), done.append)
    assert (found.bad["unreadable"], len(found.problems)) == (300, 100)
    assert [problem.pair_id for problem in found.problems[:3]] == ["0", "1", "2"]
    assert done == list(range(1, 301))
