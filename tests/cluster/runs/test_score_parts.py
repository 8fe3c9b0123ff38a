"""Compacted scores: for which shards they are believed, and when shards are read instead."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.records import TIME
from support.s3 import S3Server
from support.s3_proxy import S3Proxy, s3_proxy
from support.shards import MANIFEST, RECORD, encoded, failed, ok, records

from cluster.collections.frozen_manifest import MANIFEST_KEY
from cluster.runs import score_part_writer
from cluster.runs.commits import Committer
from cluster.runs.config import RunTarget
from cluster.runs.damage import Damage
from cluster.runs.ledger import Ledger
from cluster.runs.plan import shard_key
from cluster.runs.rows import ResultRow
from cluster.runs.score_part_writer import ScorePartWriter
from cluster.runs.score_parts import SCORES_PREFIX, ShardScores, encode_part
from cluster.runs.shards import ShardContent
from cluster.storage.store import Store
from fusion_core.errors import StorageError

COLUMNS = ["EN", "status", "attempt"]


@pytest.fixture
def out(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    store.write(MANIFEST_KEY, MANIFEST)
    return store


def commit(out: Store, shard: int, *rows: ResultRow) -> ShardScores:
    """Commit a shard, and return what its worker reports."""
    commit = Committer(out, RECORD).commit(shard, records(*rows), None, TIME)
    scores = commit.scores(RECORD.metrics)
    assert scores is not None
    return scores


def retry(out: Store, shard: int, offset: int, row: ResultRow) -> ShardScores:
    """Compute one row of a shard again."""
    committer = Committer(out, RECORD)
    found = committer.shards.read_whole(shard)
    scores = committer.commit(shard, {offset: row.to_record()}, found, TIME).scores(RECORD.metrics)
    assert scores is not None
    return scores


def write_part(out: Store, *scores: ShardScores) -> str:
    key, data = encode_part(scores)
    out.write(key, data)
    return key


def read(out: Store, **options: Any) -> list[ShardContent]:
    return list(Ledger(out, RECORD).contents(COLUMNS, **options))


def values(contents: list[ShardContent]) -> list[list[Any]]:
    return [[row["EN"] for row in content.to_rows()] for content in contents]


@pytest.fixture
def both(out: Store) -> list[ShardScores]:
    """The reports of both shards of the run."""
    return [
        commit(out, 0, ok("p0", 1.0), failed("p1")),
        commit(out, 1, ok("p2", 3.0), ok("p3", 4.0)),
    ]


def test_rows_of_a_part_are_those_of_the_shards(out: Store, both: list[ShardScores]) -> None:
    columns = Ledger(out, RECORD).parts.columns
    from_shards = list(Ledger(out, RECORD).contents(columns))
    write_part(out, *both)
    from_parts = list(Ledger(out, RECORD).contents(columns))
    assert [content.compacted for content in from_shards + from_parts] == [False] * 2 + [True] * 2
    for shard, part in zip(from_shards, from_parts, strict=True):
        assert part.to_rows() == shard.to_rows()
        assert (part.facts, part.version) == (shard.facts, shard.version)


def test_facts_alone_come_from_a_part(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    contents = list(Ledger(out, RECORD).contents())
    assert [(c.compacted, c.facts.failed, c.table) for c in contents] == [
        (True, 1, None),
        (True, 0, None),
    ]


def test_images_come_from_the_shards(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    contents = list(Ledger(out, RECORD).contents(["fused"]))
    assert [content.compacted for content in contents] == [False, False]
    assert contents[1].to_rows()[0]["fused"]["bytes"].startswith(b"p2")


def test_a_shard_that_no_part_has_is_read_itself(out: Store, both: list[ShardScores]) -> None:
    write_part(out, both[1])  # the driver was killed before it wrote the other one
    contents = read(out)
    assert [content.compacted for content in contents] == [False, True]
    assert values(contents) == [[1.0, None], [3.0, 4.0]]


def test_the_rows_before_a_retry_are_not_used_again(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    retry(out, 0, 1, ok("p1", 2.0, attempt=2))
    contents = read(out)
    assert [content.compacted for content in contents] == [False, True]
    assert values(contents) == [[1.0, 2.0], [3.0, 4.0]]


def test_of_two_parts_the_one_of_the_present_version_is_used(
    out: Store, both: list[ShardScores]
) -> None:
    again = retry(out, 0, 1, ok("p1", 2.0, attempt=2))
    write_part(out, again)
    write_part(out, *both)  # by a driver that was suspended
    contents = read(out)
    assert [content.compacted for content in contents] == [True, True]
    assert values(contents) == [[1.0, 2.0], [3.0, 4.0]]


def test_a_twin_that_comes_late_reports_the_rows_that_are_there(
    out: Store, both: list[ShardScores]
) -> None:
    late = commit(out, 0, failed("p0"), failed("p1"))
    assert late.entry == both[0].entry
    assert late.to_table().equals(both[0].to_table())


def test_an_edited_shard_is_read_itself(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    out.write(shard_key(1), encoded([ok("p2", 30.0), ok("p3", 40.0)], 1))
    assert values(read(out)) == [[1.0, None], [30.0, 40.0]]


def test_exchanged_shards_are_still_damaged(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    first, second = (out.read(shard_key(shard)) for shard in (0, 1))
    out.write(shard_key(0), second)
    out.write(shard_key(1), first)
    damages: list[Damage] = []
    assert read(out, on_damage=damages.append) == []
    assert [damage.shard for damage in damages] == [0, 1]


def test_a_removed_shard_has_no_rows(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    out.delete(shard_key(0))
    assert [content.shard for content in read(out)] == [1]


def flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def other_values(data: bytes) -> bytes:
    """The part with another value, written as other programs do, with all metadata."""
    file = pq.ParquetFile(io.BytesIO(data))
    table = file.read()
    place = table.schema.get_field_index("EN")
    table = table.set_column(place, table.schema.field(place), pa.array([9.0] * len(table)))
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(file.metadata.metadata)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [flipped, other_values, lambda data: data[:-50], lambda data: b"", lambda data: data * 2],
    ids=["a bit flipped", "other values", "truncated", "empty", "doubled"],
)
def test_a_damaged_part_is_not_used(
    out: Store, both: list[ShardScores], change: Callable[[bytes], bytes]
) -> None:
    key = write_part(out, *both)
    out.write(key, change(out.read(key)))
    ledger = Ledger(out, RECORD)
    contents = list(ledger.contents(COLUMNS))
    assert [content.compacted for content in contents] == [False, False]
    assert values(contents) == [[1.0, None], [3.0, 4.0]]
    assert ledger.parts.unusable == {key}


def test_foreign_files_among_the_parts_are_named(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    part = write_part(out, both[0])
    foreign = [f"{SCORES_PREFIX}/notes.txt", part.replace("000000-000000", "000000-000001")]
    for key in foreign:
        out.write(key, b"mine")
    ledger = Ledger(out, RECORD)
    assert all(content.compacted for content in ledger.contents(COLUMNS))
    assert ledger.parts.unusable == set(foreign)


def test_parts_of_another_run_are_not_used(out: Store, both: list[ShardScores]) -> None:
    write_part(out, *both)
    other = RECORD.model_copy(update={"name": "other"})
    damages: list[Damage] = []
    assert list(Ledger(out, other).contents(COLUMNS, on_damage=damages.append)) == []
    assert [damage.reason for damage in damages] == [
        "it was written by a run with other settings"
    ] * 2


def test_a_part_that_was_read_is_not_read_again_for_shards_that_it_lacks(
    out: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_part(out, commit(out, 0, ok("p0"), ok("p1")))
    ledger = Ledger(out, RECORD)
    assert len(list(ledger.contents(COLUMNS))) == 1
    commit(out, 1, ok("p2"), ok("p3"))
    read_keys = []
    real = Store.read
    monkeypatch.setattr(Store, "read", lambda s, key, *a: read_keys.append(key) or real(s, key, *a))
    listing = ledger.listing()
    contents = list(ledger.contents(COLUMNS, listing=listing.only([1])))
    assert [content.compacted for content in contents] == [False]
    assert read_keys == []


def test_shards_that_were_read_can_be_kept_for_a_part(out: Store, both: list[ShardScores]) -> None:
    write_part(out, both[0])
    notes: list[str] = []
    writer = ScorePartWriter(RunTarget(RECORD, out), notes.append)
    contents = read(out, on_read=writer.keep_content)
    writer.close()
    assert values(contents) == values(read(out)) == [[1.0, None], [3.0, 4.0]]
    assert [content.compacted for content in read(out)] == [True, True]
    assert (len(out.entries(SCORES_PREFIX)), notes) == (2, [])


def test_verification_finds_a_part_that_differs(out: Store, both: list[ShardScores]) -> None:
    wrong = both[1].to_table()
    place = wrong.schema.get_field_index("EN")
    wrong = wrong.set_column(place, wrong.schema.field(place), pa.array([3.0, 4.5]))
    entry = both[1].entry
    write_part(out, both[0], ShardScores.of(entry.version, entry.facts, wrong))
    different: list[int] = []
    ledger = Ledger(out, RECORD)
    sound = list(ledger.verify(ledger.listing(), lambda damage: None, different.append))
    assert ([content.shard for content in sound], different) == ([0, 1], [1])


def test_a_shard_that_is_replaced_while_it_is_verified_does_not_differ(
    out: Store, both: list[ShardScores]
) -> None:
    write_part(out, *both)
    different: list[int] = []
    ledger = Ledger(out, RECORD)
    listing = ledger.listing()
    retry(out, 0, 1, ok("p1", 2.0, attempt=2))
    assert len(list(ledger.verify(listing, lambda damage: None, different.append))) == 2
    assert different == []


# Writing


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_part_writer, "SHARDS_PER_PART", 1)
    monkeypatch.setattr(score_part_writer, "_MOST_PARTS", 2)


@pytest.mark.usefixtures("small_parts")
def test_a_full_part_is_written_while_the_run_goes_on(out: Store, both: list[ShardScores]) -> None:
    writer = ScorePartWriter(RunTarget(RECORD, out), print)
    writer.keep(both[0])
    assert writer._writing is not None
    writer._writing.result()
    assert len(out.entries(SCORES_PREFIX)) == 1
    writer.keep(both[1])
    writer.close()
    assert [content.compacted for content in read(out)] == [True, True]


def test_rows_are_written_after_ten_minutes(
    out: Store, both: list[ShardScores], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ScorePartWriter(RunTarget(RECORD, out), print)
    writer.keep(both[0])
    snapshot: Any = None
    writer.progressed(snapshot)
    assert writer._writing is None
    later = time.monotonic() + score_part_writer._WRITE_EVERY_S
    monkeypatch.setattr(score_part_writer.time, "monotonic", lambda: later)
    writer.progressed(snapshot)
    assert writer._writing is not None
    writer.close()
    assert len(out.entries(SCORES_PREFIX)) == 1


@pytest.mark.usefixtures("small_parts")
def test_a_part_that_cannot_be_written_is_said_once(
    out: Store, both: list[ShardScores], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    notes: list[str] = []
    writer = ScorePartWriter(RunTarget(RECORD, out), notes.append)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", refuse)
        for scores in both:
            writer.keep(scores)
            assert writer._writing is not None
            writer._writing.result()
    writer.close()
    assert notes == ["Compacted scores cannot be written, which costs time only: the disk is full"]


@pytest.mark.usefixtures("small_parts")
def test_memory_is_bounded_while_the_store_does_not_answer(
    out: Store, both: list[ShardScores], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ScorePartWriter(RunTarget(RECORD, out), print)
    never: Any = type("Never", (), {"done": lambda self: False, "result": lambda self: None})()
    writer._writing = never
    for scores in both:
        writer.keep(scores)
    assert writer._kept == {}


# Requests


@pytest.fixture
def proxy(s3_seaweed: S3Server) -> Iterator[S3Proxy]:
    with s3_proxy(s3_seaweed) as proxy:
        yield proxy


def test_requests_do_not_grow_with_the_shards(proxy: S3Proxy) -> None:
    out = Store(f"s3://{proxy.s3.new_bucket()}/run", proxy.s3.storage_options)
    out.write(MANIFEST_KEY, MANIFEST)
    scores = [commit(out, 0, ok("p0", 1.0), ok("p1", 2.0)), commit(out, 1, ok("p2"), ok("p3"))]
    ledger = Ledger(out, RECORD)
    ledger.verify_manifest()  # opens it

    def requests() -> list[str]:
        """Read all rows, and return the addresses that are read for this."""
        proxy.requests.clear()
        assert values(list(ledger.contents(COLUMNS))) == [[1.0, 2.0], [1.0, 1.0]]
        return [request for request in proxy.requests if request.startswith("GET")]

    of_shards = [request for request in requests() if "shard-" in request]
    assert len(of_shards) >= 2 * 2  # of each its footer and its rows
    key = write_part(out, *scores)
    *listings, part = requests()
    assert ["list-type" in request for request in listings] == [True, True]
    assert part.endswith(key)
