"""Whatever a manifest, a folder or an image holds, no pair is lost and nothing else breaks.

`pytest tests/jobs/test_fuzz.py --hypothesis-profile=deep` tries ten times as much.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.collections import read_rows
from support.records import worker_config
from support.reference_files import deep_png, noise, pillow_file, save_pillow, tiff_file

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, FrozenInfo, freeze
from cluster.collections.manifest_reader import FrozenManifest
from cluster.collections.user_manifest import read_user_manifest
from cluster.runs.messages import ShardTask
from cluster.runs.plan import ShardPlan
from cluster.runs.rows import STAGES
from cluster.runs.worker import ShardProcessor
from cluster.storage.reader import Reader
from cluster.storage.store import Store
from fusion_core.errors import IrfuseError

# Pillow and tifffile warn of damaged tags before they give up.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

T = TypeVar("T")
DEEP = settings.get_current_profile_name() == "deep"
METRICS = ("EN", "SCD")
LEAST_SHARE = 0.1
"""Of the examples, that must get through: one that is refused proves little."""


def examples(count: int) -> settings:
    return settings(
        max_examples=10 * count if DEEP else count,
        deadline=None,
        derandomize=not DEEP,
        database=None,
    )


def mostly(usual: st.SearchStrategy[T], rare: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Draw three of four from the first strategy."""
    return st.integers(0, 3).flatmap(lambda number: rare if number == 3 else usual)


# Manifests

COLUMNS = ("pair_id", "ir_uri", "vis_uri", "subset", "fused_uri")
ODD_TEXT = (
    "", " ", "a", "../a", "..", ".", "/a/b.png", "~/a.png", "a\nb", 'a"b', "a,b", "a\0b",
    "\ufeffa",
    "\u202eabc", "\x1b[31m", "a::b", "x://y", "file:///a", "s3://b/k", "s3://u:p@b/k", "https://h",
    "https://h/a.png?sig=1#2", "data:,x", "memory://a", "s3://", "://", "abfs://c@h/x", "红外",
    "e\u0301", "x" * 10_000,
)  # fmt: skip
texts = st.sampled_from(ODD_TEXT) | st.text(st.characters(codec="utf-8"), max_size=12)
names = st.sampled_from(COLUMNS) | texts


addresses = st.sampled_from(
    ["a.png", "b/c d.png", "红外.png", "x,y.png", 'a"b.png', "s3://b/k.png", "https://h/a.png"]
)
"""Locations that a manifest may name."""


@st.composite
def readable_tables(draw: st.DrawFn) -> list[list[str]]:
    """Tables with the columns that a manifest needs, and with anything in the others."""
    cells: dict[str, st.SearchStrategy[str]] = {"ir_uri": addresses, "vis_uri": addresses}
    for name in draw(st.lists(st.sampled_from(["group", "note", "红外"]), unique=True)):
        cells[name] = texts
    count = draw(st.integers(1, 6))
    columns = [
        [name, *draw(st.lists(values, min_size=count, max_size=count))]
        for name, values in cells.items()
    ]
    if draw(st.booleans()):
        columns.append(["pair_id", *(f"{draw(texts)} {number}" for number in range(count))])
    return [list(row) for row in zip(*draw(st.permutations(columns)), strict=True)]


@st.composite
def odd_tables(draw: st.DrawFn) -> list[list[str]]:
    """Tables with any header, ragged now and then."""
    header = draw(st.permutations(COLUMNS[:4])) + draw(st.lists(names, max_size=2))
    header = header[draw(st.integers(0, 2)) :]
    width = st.just(len(header)) if draw(st.booleans()) else st.integers(0, 6)
    sizes = draw(st.lists(width, max_size=6))
    return [header, *(draw(st.lists(texts, min_size=size, max_size=size)) for size in sizes)]


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Tables in several encodings and dialects."""
    sink = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    rows = draw(mostly(readable_tables(), odd_tables()))
    csv.writer(sink, quoting=quoting, lineterminator=end).writerows(rows)
    encoding = draw(mostly(st.just("utf-8"), st.sampled_from(["utf-8-sig", "utf-16", "latin-1"])))
    return sink.getvalue().encode(encoding, "replace")


def columns_of(rows: int) -> st.SearchStrategy[pa.Array]:
    """Columns of many types, text among them, some of it not valid UTF-8."""

    def column(kind: pa.DataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[pa.Array]:
        cells = st.lists(st.none() | values, min_size=rows, max_size=rows)
        return cells.map(lambda found: pa.array(found, kind))

    def broken(cells: list[bytes]) -> pa.Array:
        raw = pa.array(cells, pa.binary())
        return pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2])

    return st.one_of(
        column(pa.string(), texts),
        column(pa.large_string(), texts),
        column(pa.string(), texts).map(lambda found: found.dictionary_encode()),
        column(pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        column(pa.float64(), st.floats()),
        column(pa.bool_(), st.booleans()),
        *(column(pa.timestamp(unit), st.integers(-(2**53), 2**53)) for unit in ("s", "us", "ns")),
        column(pa.time64("ns"), st.integers(0, 10**9)),
        column(pa.duration("s"), st.integers(-(2**53), 2**53)),
        column(pa.binary(), st.binary(max_size=6)),
        column(pa.list_(pa.string()), st.lists(texts, max_size=2)),
        column(pa.struct([("a", pa.int32())]), st.just({"a": 1})),
        st.just(pa.nulls(rows)),
        st.lists(st.binary(max_size=6), min_size=rows, max_size=rows).map(broken),
    )


def text_table(rows: list[list[str]]) -> pa.Table:
    header, *cells = rows
    return pa.table(dict(zip(header, map(list, zip(*cells, strict=True)), strict=True)))


@st.composite
def odd_columns(draw: st.DrawFn) -> pa.Table:
    """Tables with columns of any name and type."""
    rows = draw(st.integers(0, 5))
    text = st.lists(texts, min_size=rows, max_size=rows).map(lambda found: pa.array(found))
    header = draw(st.lists(names, max_size=5))
    if draw(st.integers(0, 3)):
        header = ["ir_uri", "vis_uri", *header]
    return pa.Table.from_arrays([draw(text | columns_of(rows)) for _ in header], names=header)


@st.composite
def parquet_files(draw: st.DrawFn) -> bytes:
    """Tables with any columns, cut or with changed bytes now and then."""
    sink = io.BytesIO()
    pq.write_table(draw(mostly(readable_tables().map(text_table), odd_columns())), sink)
    data = sink.getvalue()
    return draw(mostly(st.just(data), st.just(data[:-3]) | damaged(data)))


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """The data with some bytes changed, or cut."""
    places = st.lists(
        st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )

    def change(changes: Iterable[tuple[int, int]]) -> bytes:
        changed = bytearray(data)
        for place, byte in changes:
            changed[place] = byte
        return bytes(changed)

    return places.map(change) | st.integers(0, len(data) - 1).map(lambda end: data[:end])


def freeze_and_read(folder: str, name: str, data: bytes) -> bool:
    """Claim: a manifest is refused in words, or every one of its rows comes back in order.

    Returns whether it was accepted.
    """
    store = Store(folder)
    store.write(name, data)
    try:
        batches = list(read_user_manifest(store, name))
        pair_ids = [value for batch in batches for value in batch.column("pair_id").to_pylist()]
        info, frozen = freeze(read_user_manifest(store, name))
    except IrfuseError:
        return False
    store.write(MANIFEST_KEY, frozen)
    manifest = FrozenManifest(store)
    rows = manifest.read(0, manifest.rows)
    assert (info.rows, info.digest) == (manifest.rows, manifest.digest)
    assert [row.pair_id for row in rows] == pair_ids
    assert len({row.pair_id for row in rows}) == len(rows) == info.rows
    return True


def test_any_csv_is_frozen_whole_or_refused() -> None:
    accepted: list[bool] = []

    @given(data=csv_files() | st.binary(max_size=200))
    @examples(200)
    def check(data: bytes) -> None:
        with TemporaryDirectory() as folder:
            accepted.append(freeze_and_read(folder, "list.csv", data))

    check()
    assert sum(accepted) >= LEAST_SHARE * len(accepted)


def test_any_parquet_is_frozen_whole_or_refused() -> None:
    accepted: list[bool] = []

    @given(data=parquet_files() | st.binary(max_size=50))
    @examples(120)
    def check(data: bytes) -> None:
        with TemporaryDirectory() as folder:
            accepted.append(freeze_and_read(folder, "list.parquet", data))

    check()
    assert sum(accepted) >= LEAST_SHARE * len(accepted)


# Folders

pieces = st.sampled_from(
    ["ir", "vis", "IR", "visible", "thermal", "T", "_", "-", " ", ".", "..", "::", "%20", "%2e",
     "#", "?", "a=b", "~", "1", "01", "png", "\n", "\x1b[31m", "\u202e", "é", "e\u0301", "ß", "'",
     "红外",
     '"', "\\", "[/b]", "file:", "s3:", "\udcff"]
) | st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=4)  # fmt: skip
stems = st.lists(pieces, max_size=4).map("".join)


@st.composite
def collections(draw: st.DrawFn) -> set[str]:
    """Keys of files, in pairs and alone."""
    keys: set[str] = set()
    for _ in range(draw(st.integers(1, 4))):
        stem, above = draw(stems), draw(st.sampled_from(["", "", draw(stems) + "/"]))
        end = draw(st.sampled_from([".png", ".PNG", ".tiff", ".jpg", ".txt", ""]))
        pattern = draw(
            st.sampled_from(
                [
                    ("ir/{}", "vis/{}"),
                    ("IR{}", "VIS{}"),
                    ("{}_ir", "{}_vi"),
                    ("{}_ir_", "{}_vi_"),
                ]
            )
        )
        for name in draw(st.sampled_from([pattern, pattern[:1], (*pattern, "{}")])):
            keys.add(above + name.replace("{}", stem) + end)
    return {key for key in keys if all(_is_name(part) for part in key.split("/"))}


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and len(part.encode("utf-8", "surrogateescape")) < 200


def discover_and_read(keys: set[str]) -> bool:
    """Claim: pairs are read back under any names, or refused in words; returns which."""
    with TemporaryDirectory() as folder:
        store = Store(f"{folder}/in")
        for number, key in enumerate(sorted(keys)):
            _write_if_free(Path(store.path(key)), b"%d" % number)
        try:
            found = discover(store)
            pairs = found.discovery.pairs
            out = Store(f"{folder}/out")
            out.write(MANIFEST_KEY, freeze(found.batches())[1])
        except IrfuseError:
            return False
        rows = FrozenManifest(out).read(0, len(pairs))
        assert [row.pair_id for row in rows] == [pair.pair_id for pair in pairs]
        for row, pair in zip(rows, pairs, strict=True):
            assert Reader().read(row.ir_uri) == store.read(pair.ir_key)
            assert Reader().read(row.vis_uri) == store.read(pair.vis_key)
        return len(pairs) > 0


def test_pairs_of_any_names_are_frozen_and_read_back() -> None:
    accepted: list[bool] = []

    @given(keys=collections())
    @examples(150)
    def check(keys: set[str]) -> None:
        accepted.append(discover_and_read(keys))

    check()
    assert sum(accepted) >= LEAST_SHARE * len(accepted)


def _write_if_free(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return  # another key has this name for a folder, or the other way round


# Images

GRAY, RGB = noise(12, 14, seed=1), noise(12, 14, 3, seed=2)
DEEP_RGB = noise(12, 14, 3, seed=3, dtype=np.uint16)
FILES = {
    "png": pillow_file(RGB, "PNG"),
    "deep": deep_png(DEEP_RGB),
    "palette": save_pillow(Image.fromarray(RGB).convert("P"), "PNG"),
    "jpeg": pillow_file(RGB, "JPEG"),
    "bmp": pillow_file(RGB, "BMP"),
    "webp": pillow_file(RGB, "WEBP"),
    "jp2": pillow_file(RGB, "JPEG2000"),
    "tiff": pillow_file(RGB, "TIFF", compression="tiff_lzw"),
    "tiff16": tiff_file(DEEP_RGB, compression="deflate"),
    "other size": pillow_file(GRAY[1:], "PNG"),
    "one pixel": pillow_file(GRAY[:1, :1], "PNG"),
    "text": b"hello",
}
whole = st.sampled_from(sorted(FILES)).map(FILES.__getitem__)
images = mostly(whole, whole.flatmap(damaged))
own = st.sampled_from(["ir", "vis"])
locations = mostly(own, st.sampled_from(ODD_TEXT))


def fuse_whatever(files: list[tuple[bytes, bytes, str, str]], window: int) -> list[dict[str, Any]]:
    """Claim: every row of a manifest has its row, in order; returns the rows."""
    with TemporaryDirectory() as folder:
        source, out = Store(f"{folder}/in"), Store(f"{folder}/out")
        uris: list[tuple[str, str]] = []
        for number, (ir, vis, *places) in enumerate(files):
            own = {"ir": f"ir/{number}", "vis": f"vis/{number}"}
            source.write(own["ir"], ir)
            source.write(own["vis"], vis)
            found = [source.uri(own[place]) if place in own else place for place in places]
            uris.append((found[0], found[1]))
        info, frozen = freeze([_manifest(uris)])
        out.write(MANIFEST_KEY, frozen)
        worker = _processor(out, ShardPlan(info.rows, window), info.digest)
        for shard in range(ShardPlan(info.rows, window).count):
            worker.process(ShardTask(shard))
        rows = read_rows(out.url)
    assert [row["pair_id"] for row in rows] == [f"../p\n{n}" for n in range(len(files))]
    for row in rows:
        _check_row(row)
    return rows


def test_every_row_of_a_manifest_has_its_row_whatever_the_images() -> None:
    ok: list[bool] = []

    @given(
        files=st.lists(st.tuples(images, images, locations, locations), min_size=1, max_size=5),
        window=st.integers(1, 3),
    )
    @examples(30)
    def check(files: list[tuple[bytes, bytes, str, str]], window: int) -> None:
        ok.extend(row["status"] == "ok" for row in fuse_whatever(files, window))

    with stamina.set_testing(True, attempts=1):  # of the hosts in odd locations, none answers
        check()
    assert sum(ok) >= LEAST_SHARE * len(ok)


def _manifest(uris: list[tuple[str, str]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "pair_id": [f"../p\n{number}" for number in range(len(uris))],
            "ir_uri": [ir for ir, _ in uris],
            "vis_uri": [vis for _, vis in uris],
            "subset": ["\x1b[31m"] * len(uris),
        }
    )


def _processor(out: Store, plan: ShardPlan, digest: str) -> ShardProcessor:
    info = FrozenInfo(plan.rows, digest)
    settings: dict[str, Any] = {"metrics": METRICS, "max_pixels": 100_000}
    return ShardProcessor(worker_config(out, info, shard_size=plan.shard_size, **settings))


def _check_row(row: dict[str, Any]) -> None:
    if row["status"] == "ok":
        assert row["error_message"] is None
        assert row["fused"]["bytes"].startswith(b"\x89PNG")
        assert row["EN"] is not None
    else:
        assert row["error_stage"] in STAGES
        assert row["error_type"]
        assert row["error_message"]
        assert row["fused"] is None
        assert row["EN"] is None
