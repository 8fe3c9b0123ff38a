"""Small files that would unpack to far more: a failed row each, at no cost in memory."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from support.collections import read_rows
from support.environment import child_environment
from support.records import worker_config
from support.reference_files import (
    deep_png,
    jpeg_of_scans,
    noise,
    pillow_file,
    png_chunk,
    png_claiming,
    tiff_of_tags,
)

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.runs.messages import ShardTask
from cluster.runs.worker import ShardProcessor
from cluster.storage.store import Store

# Pillow warns of some of them before it gives up.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")

MAX_PIXELS = 1_000_000
LARGE = 400_000_000
"""Bytes that a bomb would unpack to."""
MOST_GROWTH_KB = 150_000
SHORT, LONG = 3, 4
PNG, DEEP_PNG = pillow_file(noise(8, 8, 3), "PNG"), deep_png(noise(8, 8, 3, dtype=np.uint16))
AFTER_HEADER = 33


def packed_zeros(size: int) -> bytes:
    packer, block = zlib.compressobj(6), bytes(1_000_000)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


ZEROS = packed_zeros(LARGE)
MEGABYTE = packed_zeros(1_000_000)


def png_with(*chunks: bytes, png: bytes = PNG) -> bytes:
    return png[:AFTER_HEADER] + b"".join(chunks) + png[AFTER_HEADER:]


def tiff_holding(content: bytes, compression: int, bits: tuple[int, ...], side: int = 8) -> bytes:
    return tiff_of_tags(
        (256, LONG, (side,)), (257, LONG, (side,)), (258, SHORT, bits),
        (259, SHORT, (compression,)), (262, SHORT, (2 if len(bits) > 2 else 1,)),
        (273, LONG, (8,)), (277, SHORT, (len(bits),)), (278, LONG, (side,)),
        (279, LONG, (len(content),)), data=content,
    )  # fmt: skip


def tiff_of_one_tile(content: bytes, compression: int, bits: int, side: int) -> bytes:
    return tiff_of_tags(
        (256, LONG, (8,)), (257, LONG, (8,)), (258, SHORT, (bits,)), (259, SHORT, (compression,)),
        (262, SHORT, (1,)), (277, SHORT, (1,)), (322, LONG, (side,)), (323, LONG, (side,)),
        (324, LONG, (8,)), (325, LONG, (len(content),)), data=content,
    )  # fmt: skip


def tiff_of_the_same_strips(count: int) -> bytes:
    """A TIFF of one column, each row of which takes the same 100 kB to unpack."""
    nothing = b"\x80" * 99_998 + b"\x00\x05"  # in PackBits
    return tiff_of_tags(
        (256, LONG, (1,)), (257, LONG, (count,)), (258, SHORT, (8,)), (259, SHORT, (32773,)),
        (262, SHORT, (1,)), (273, LONG, (8,) * count), (277, SHORT, (1,)), (278, LONG, (1,)),
        (279, LONG, (len(nothing),) * count), data=nothing,
    )  # fmt: skip


def jpeg_claiming(side: int) -> bytes:
    data = bytearray(pillow_file(noise(8, 8), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def webp_claiming(side: int) -> bytes:
    """A WebP whose canvas is of any size, with a small picture in it."""
    size = struct.pack("<I", side - 1)[:3]
    picture = pillow_file(noise(8, 8, 3), "WEBP", lossless=True)[12:]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + size + picture
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jp2_claiming(side: int, *, in_box: bool = True) -> bytes:
    """A JPEG 2000 file whose codestream, and its box too, claim any size."""
    data = bytearray(imagecodecs.jpeg2k_encode(noise(8, 8), codecformat="jp2"))
    if in_box:
        box = data.index(b"ihdr") + 4
        data[box : box + 8] = struct.pack(">II", side, side)
    stream = data.index(b"\xff\x4f\xff\x51") + 8
    data[stream : stream + 8] = struct.pack(">II", side, side)
    return bytes(data)


TOO_LARGE = "over the limit of 1000000 pixels"
TEXT = "MAX_TEXT"
FOREIGN = "but got compression"
BOMBS = {
    "claim_png.png": (png_claiming(60_000, 60_000), "too large"),
    "claim_jpg.jpg": (jpeg_claiming(13_000), TOO_LARGE),
    "claim_webp.webp": (pillow_file(np.zeros((2000, 2000), np.uint8), "WEBP"), TOO_LARGE),
    "canvas.webp": (webp_claiming(60_000), "too large|damaged"),
    "claim_jp2.jp2": (jp2_claiming(13_000), TOO_LARGE),
    "stream.jp2": (jp2_claiming(13_000, in_box=False), "damaged"),
    "claim_tif.tif": (tiff_holding(ZEROS, 8, (8,), side=20_000), "too large|over the limit"),
    "claim_tif16.tif": (tiff_holding(ZEROS, 8, (16,), side=13_000), TOO_LARGE),
    "ztxt.png": (png_with(png_chunk(b"zTXt", b"k\0\0" + ZEROS)), TEXT),
    "ztxt16.png": (png_with(png_chunk(b"zTXt", b"k\0\0" + ZEROS), png=DEEP_PNG), TEXT),
    "itxt.png": (png_with(png_chunk(b"iTXt", b"k\0\1\0\0\0" + ZEROS)), TEXT),
    "iccp.png": (png_with(png_chunk(b"iCCP", b"k\0\0" + ZEROS)), TEXT),
    "many.png": (
        png_with(*(png_chunk(b"zTXt", b"k%d\0\0" % n + MEGABYTE) for n in range(400))), TEXT,
    ),
    "inner_jpeg.tif": (tiff_holding(jpeg_claiming(20_000), 7, (8, 8, 8, 8)), FOREIGN),
    "inner_png.tif": (tiff_holding(png_claiming(60_000, 60_000), 34933, (16,)), FOREIGN),
    "inner_jp2.tif": (tiff_holding(jp2_claiming(13_000), 34712, (16,)), FOREIGN),
    "scans.jpg": (jpeg_of_scans(5000), "more than 100 scans"),
    "strips.tif": (tiff_of_the_same_strips(50_000), "strips of the image have 5000000000 bytes"),
    "tile.tif": (tiff_of_one_tile(ZEROS, 8, 8, 20_000), "tiles of 20000x20000"),
    "tile16.tif": (tiff_of_one_tile(ZEROS, 8, 16, 14_000), "tiles of 14000x14000"),
    "strip16.tif": (tiff_holding(ZEROS, 8, (16,)), "damaged"),
    "zstd16.tif": (
        tiff_holding(imagecodecs.zstd_encode(bytes(100_000_000)), 50000, (16,)), "damaged",
    ),
}  # fmt: skip


def with_huge_tags(data: bytes) -> bytes:
    """Make two harmless tags claim a billion values each."""
    changed = bytearray(data)
    for code in (700, 34675):
        entry = changed.index(struct.pack("<HH", code, LONG))
        changed[entry + 4 : entry + 8] = struct.pack("<I", 2**30)
    return bytes(changed)


def of_pages(data: bytes) -> bytes:
    """Make the first page of a TIFF its own successor, for ever."""
    first = struct.unpack("<I", data[4:8])[0]
    (tags,) = struct.unpack("<H", data[first : first + 2])
    end = first + 2 + 12 * tags
    return data[:end] + data[4:8] + data[end + 4 :]


def small_tiff(bits: int, *further: tuple[int, int, tuple[int, ...]]) -> bytes:
    content = noise(8, 8, seed=bits).tobytes() * (bits // 8)
    return tiff_of_tags(
        (256, LONG, (8,)), (257, LONG, (8,)), (258, SHORT, (bits,)), (259, SHORT, (1,)),
        (262, SHORT, (1,)), (273, LONG, (8,)), (277, SHORT, (1,)), (278, LONG, (8,)),
        (279, LONG, (len(content),)), *further, data=content,
    )  # fmt: skip


TAGS = (700, LONG, (1,)), (34675, LONG, (1,))
HARMLESS = {
    "tags8.tif": with_huge_tags(small_tiff(8, *TAGS)),
    "tags16.tif": with_huge_tags(small_tiff(16, *TAGS)),
    "pages8.tif": of_pages(small_tiff(8)),
    "pages16.tif": of_pages(small_tiff(16)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of a bomb and a picture, computed by a worker."""
    folder = tmp_path_factory.mktemp("bombs")
    source, out = Store(str(folder / "in")), Store(str(folder / "out"))
    for name, data in {**{name: data for name, (data, _) in BOMBS.items()}, **HARMLESS}.items():
        source.write(f"ir/{name}", data)
        source.write(f"vis/{name}", PNG)
    info, manifest = freeze(discover(source).batches())
    out.write(MANIFEST_KEY, manifest)
    config = worker_config(out, info, max_pixels=MAX_PIXELS)
    ShardProcessor(config).process(ShardTask(0))
    return folder


def test_every_bomb_is_a_failed_row_with_its_reason(folder: Path) -> None:
    rows = {Path(row["ir_uri"]).name: row for row in read_rows(folder / "out")}
    assert set(rows) == {*BOMBS, *HARMLESS}
    for name, (_, reason) in BOMBS.items():
        row = rows[name]
        assert (row["status"], row["error_stage"]) == ("failed", "decode"), name
        assert row["error_message"].startswith("infrared image: ")
        assert any(part in row["error_message"] for part in reason.split("|")), row["error_message"]


def test_pages_and_tags_without_end_are_not_read(folder: Path) -> None:
    rows = {Path(row["ir_uri"]).name: row for row in read_rows(folder / "out")}
    assert {rows[name]["error_message"] for name in HARMLESS} == {None}


PEAKS = """
import sys
from pathlib import Path
from fusion_core.errors import ImageDecodeError
from fusion_core.images.decoding import decode_image

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])

for path in sorted(Path(sys.argv[1]).iterdir()):
    data, before = path.read_bytes(), peak()
    try:
        decode_image(data, max_pixels=int(sys.argv[2]))
    except ImageDecodeError:
        pass
    print(path.name, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak")
def test_bombs_take_no_memory(folder: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PEAKS, str(folder / "in" / "ir"), str(MAX_PIXELS)],
        capture_output=True, text=True, check=True, env=child_environment(),
    )  # fmt: skip
    growth = {name: int(size) for name, size in map(str.split, shown.stdout.splitlines())}
    assert set(growth) == {*BOMBS, *HARMLESS}
    assert {name: size for name, size in growth.items() if size > MOST_GROWTH_KB} == {}
