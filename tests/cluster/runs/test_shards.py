"""The shards of a run: what is recognised as damage."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.records import encoded_shard, result_row, run_record
from support.shards import GOOD, IMAGE, INFO, MANIFEST, RECORD, begun_run, encoded, ok

from cluster.runs.damage import DamagedShardError
from cluster.runs.ledger import Ledger
from cluster.runs.plan import shard_key
from cluster.runs.record import RunRecord
from cluster.runs.rows import ResultRow
from cluster.runs.shard_file import content_digest, open_shard, read_facts
from cluster.runs.shards import ShardContent, Shards
from cluster.storage.store import Store
from fusion_core.errors import RunConflictError


def other_values(rows: Sequence[ResultRow]) -> bytes:
    """A shard of other rows, with valid checksums, but with the facts of the good ones."""
    facts = pq.ParquetFile(io.BytesIO(GOOD)).schema_arrow.metadata
    table = open_shard(io.BytesIO(encoded(rows))).read()
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(facts), buffer, write_page_checksum=True)
    return buffer.getvalue()


@pytest.fixture
def out(tmp_path: Path) -> Store:
    return begun_run(tmp_path)


@pytest.fixture
def shards(out: Store) -> Shards:
    return Shards(out, RECORD)


DAMAGES: dict[str, tuple[bytes, str]] = {
    "the shard of another place": (encoded([ok("p2"), ok("p3")], 1), "rows are those of shard 1"),
    "a row less": (encoded([ok("p0")]), "1 rows instead of 2"),
    "other pairs": (encoded([ok("p0"), ok("x")]), "pairs are not those of the manifest"),
    "pairs exchanged": (encoded([ok("p1"), ok("p0")]), "pairs are not those of the manifest"),
    "the facts of other rows": (
        other_values([ok("p0"), ok("x")]), "pairs are not those of the manifest"
    ),
    "another run": (encoded([ok("p0"), ok("p1")], fingerprint="x"), "run with other settings"),
    "other columns": (
        encoded_shard(
            [result_row("p0"), result_row("p1")], [], fingerprint=RECORD.fingerprint
        ),
        "columns are not those of the run",
    ),
    "truncated": (GOOD[:-100], "cannot be read"),
    "empty": (b"", "cannot be read"),
    "another Parquet file": (MANIFEST, "not written by this version"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_when_scores_are_read(out: Store, shards: Shards, damage: str) -> None:
    data, reason = DAMAGES[damage]
    out.write(shard_key(0), data)
    with pytest.raises(DamagedShardError, match=reason):
        shards.read(0, ["EN"])


BY_ALL_VALUES = pytest.mark.parametrize("check", [Shards.read_whole, Shards.verify])


@BY_ALL_VALUES
def test_other_values_under_valid_checksums_are_found_by_their_digest(
    out: Store, shards: Shards, check: Callable[[Shards, int], ShardContent]
) -> None:
    out.write(shard_key(0), other_values([ok("p0"), ok("p1", 2.0)]))
    assert shards.read(0, ["EN"]).facts.rows == 2
    with pytest.raises(DamagedShardError, match="values are not those that were committed"):
        check(shards, 0)


@BY_ALL_VALUES
def test_exchanged_images_are_found(
    out: Store, shards: Shards, check: Callable[[Shards, int], ShardContent]
) -> None:
    first, second = ok("p0"), ok("p1")
    first.fused, second.fused = second.fused, first.fused
    out.write(shard_key(0), other_values([first, second]))
    with pytest.raises(DamagedShardError, match="values are not those that were committed"):
        check(shards, 0)


def test_a_sound_shard_is_verified_without_keeping_its_images(shards: Shards) -> None:
    found = shards.verify(0)
    assert found.facts.rows == len(found.to_rows()) == 2
    assert "fused" not in found.to_rows()[0]


def test_a_changed_byte_never_passes_as_good_rows(out: Store, shards: Shards) -> None:
    good = shards.read_whole(0).to_rows()
    for place in range(0, len(GOOD), 97):
        data = bytearray(GOOD)
        data[place] ^= 0x10
        out.write(shard_key(0), bytes(data))
        try:
            rows = shards.read_whole(0).to_rows()
        except DamagedShardError:
            continue
        assert rows == good, f"byte {place}"


def test_a_damaged_image_is_found_without_its_digest(out: Store) -> None:
    data = bytearray(GOOD)
    data[GOOD.index(b"p1" + IMAGE) + 1000] ^= 1
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        open_shard(io.BytesIO(bytes(data))).read(columns=["fused"])


def test_the_digest_does_not_depend_on_the_row_groups() -> None:
    parquet = open_shard(io.BytesIO(GOOD))
    facts, table = read_facts(parquet), parquet.read()
    assert facts is not None
    assert content_digest([table]) == facts.content
    assert content_digest([table.slice(0, 1), table.slice(1)]) == facts.content


def test_a_shard_that_is_replaced_while_it_is_read_is_read_again(
    out: Store, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, torn = out.open_version, [GOOD[:3000] + bytes(len(GOOD) - 3000)]

    def open_version(key: str) -> tuple[Any, str]:
        return (io.BytesIO(torn.pop()), "old") if torn else real(key)

    monkeypatch.setattr(out, "open_version", open_version)
    assert shards.read(0, ["EN"]).table is not None
    assert not torn


def test_a_foreign_manifest_is_refused(out: Store) -> None:
    with pytest.raises(RunConflictError, match="differs from the manifest"):
        Shards(out, run_record(INFO, manifest_digest="0"))


# The ledger


def ledger(out: Store, record: RunRecord = RECORD) -> Ledger:
    return Ledger(out, record)


CHANGES: dict[str, Callable[[Store], None]] = {
    "added": lambda out: out.write(shard_key(1), encoded([ok("p2"), ok("p3")], 1)),
    "removed": lambda out: out.delete(shard_key(0)),
    "replaced": lambda out: out.write(shard_key(0), encoded([ok("p0"), ok("p1", 2.0)])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_listing_differs_once_a_shard_is(out: Store, change: str) -> None:
    before = ledger(out).listing()
    CHANGES[change](out)
    assert ledger(out).listing().digest != before.digest


def test_objects_that_are_no_shards_are_not_listed(out: Store) -> None:
    before = ledger(out).listing()
    for key in ("shards/shard-0000000.parquet", "shards/shard-000002.parquet", "shards/x"):
        out.write(key, GOOD)
    assert ledger(out).listing() == before


def test_damaged_shards_are_left_out_and_reported(out: Store) -> None:
    out.write(shard_key(1), GOOD)
    damages: list[Any] = []
    found = [c.shard for c in ledger(out).contents(["EN"], on_damage=damages.append)]
    assert found == [0]
    assert [(d.shard, d.reason) for d in damages] == [(1, "its rows are those of shard 0")]


def test_the_facts_are_plain_text_that_other_readers_can_use() -> None:
    metadata = pq.ParquetFile(io.BytesIO(GOOD)).schema_arrow.metadata
    facts = {k.decode(): v.decode() for k, v in metadata.items() if k.startswith(b"irfuse.")}
    assert facts["irfuse.rows"] == "2"
    assert json.loads(facts["irfuse.shard"]) == 0
