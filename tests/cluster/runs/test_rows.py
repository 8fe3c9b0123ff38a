"""The shard plan and the Parquet object of a shard."""

import io
import itertools
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from support.records import TIME, encoded_shard, result_row

from cluster.runs.plan import ShardPlan, default_shard_size, parse_shard_key, shard_key
from cluster.runs.rows import ResultRow, row_schema
from cluster.runs.shard_file import open_shard, read_facts, read_groups


@given(rows=st.integers(1, 100_000), size=st.integers(1, 1000))
def test_every_row_is_in_exactly_one_shard(rows: int, size: int) -> None:
    plan = ShardPlan(rows, size)
    edges = [plan.bounds(shard) for shard in range(plan.count)]
    assert edges[0][0] == 0
    assert edges[-1][1] == rows
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))
    assert all(0 < end - first <= size for first, end in edges)


def test_small_collections_get_small_shards() -> None:
    for rows, size in [(1, 4), (21, 4), (1000, 16), (4096, 64), (10**6, 64)]:
        assert default_shard_size(rows) == size


def test_keys_name_their_shard() -> None:
    for shard in [0, 17, 999_999, 12_345_678]:
        assert parse_shard_key(shard_key(shard)) == shard


def test_other_keys_are_no_shards() -> None:
    for key in [
        "shards/shard-1.parquet",
        "shards/shard-0000001.parquet",
        "shards/shard-000001.parquet.tmp",
        "shards/.shard-000001.parquet.irfuse-tmp-ab",
        "shards/x/shard-000001.parquet",
        "shard-000001.parquet",
    ]:
        assert parse_shard_key(key) is None


def encode(rows: list[ResultRow], metrics: list[str]) -> pq.ParquetFile:
    return open_shard(io.BytesIO(encoded_shard(rows, metrics, shard=3)))


def test_the_columns_are_those_of_the_schema_in_order() -> None:
    row = result_row(metrics={"EN": 1.5, "SCD": None})
    file = encode([row], ["EN", "SCD"])
    assert file.schema_arrow.names == row_schema(["EN", "SCD"]).names
    assert file.schema_arrow.names[:17] == [
        "pair_id", "subset", "ir_uri", "vis_uri", "width", "height", "resized", "collection", "run",
        "method", "status", "error_stage", "error_type", "error_message", "fused", "EN", "SCD",
    ]  # fmt: skip


def test_columns_without_any_value_keep_their_type() -> None:
    file = encode([result_row()], ["EN"])
    assert file.schema_arrow.field("EN").type == pa.float64()
    assert file.schema_arrow.field("fused").type == pa.struct(
        [("bytes", pa.binary()), ("path", pa.string())]
    )


def test_the_facts_and_the_picture_hint_are_in_the_metadata() -> None:
    file = encode([result_row()], [])
    facts = read_facts(file)
    assert facts is not None
    assert (facts.shard, facts.rows, facts.failed, facts.started) == (3, 1, 0, TIME)
    features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert features == {"fused": {"_type": "Image"}}


def test_a_row_group_holds_few_pictures_so_that_one_can_be_read_alone() -> None:
    mebibyte = 1024 * 1024
    sizes = [3, 3, 3, 20, 1, 7, 1]
    rows = [
        result_row(f"p{n}", fused={"bytes": bytes(size * mebibyte), "path": None})
        for n, size in enumerate(sizes)
    ]
    groups = [group["pair_id"].to_pylist() for group in read_groups(encode(rows, []))]
    assert groups == [["p0", "p1"], ["p2"], ["p3"], ["p4", "p5"], ["p6"]]


def test_picture_bytes_come_back_unchanged() -> None:
    picture = bytes(range(256)) * 40
    row = result_row(fused={"bytes": picture, "path": None})
    assert encode([row], []).read()["fused"].to_pylist() == [{"bytes": picture, "path": None}]


def test_rows_with_and_without_images_are_one_column() -> None:
    cells: list[Any] = [
        {"bytes": b"first", "path": None},
        None,
        {"bytes": None, "path": "there.png"},
        {"bytes": b"", "path": None},
    ]
    rows = [result_row(str(n), fused=cell) for n, cell in enumerate(cells)]
    assert encode(rows, []).read()["fused"].to_pylist() == cells


def test_row_groups_are_built_one_by_one() -> None:
    rows = [result_row(str(n), fused={"bytes": bytes(4_000_000), "path": None}) for n in range(24)]
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        data = encoded_shard(rows, [])
    finally:
        pa.set_memory_pool(before)
    assert len(data) > 24 * 4_000_000
    # The object grows to twice its size at most, and one row group of 8 MB is held besides.
    assert 8_000_000 < pool.max_memory() < 2 * len(data) - 24_000_000
