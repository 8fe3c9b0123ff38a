"""Selection of pairs by subset, condition, sample and limit."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.collections.selection import Selection, select
from fusion_core.errors import InvalidValueError, ManifestError

SUBSETS = ["train/day", "train/night", "test"]
ROWS = [
    {"pair_id": f"p{n:03d}", "subset": SUBSETS[n % 3], "frame": str(n), "lux": n / 2}
    for n in range(300)
]


class Source:
    """A source that counts the batches that are read of it."""

    def __init__(self, rows: Sequence[dict[str, Any]] = ROWS, size: int = 7) -> None:
        self.batches = [
            pa.RecordBatch.from_pylist(list(rows[first : first + size]))
            for first in range(0, len(rows), size)
        ]
        self.reads = 0

    def read(self) -> Iterator[pa.RecordBatch]:
        for batch in self.batches:
            self.reads += 1
            yield batch


def taken(source: Source | None = None, **selection: Any) -> list[str]:
    """Return the ids of the selected pairs."""
    batches = select((source or Source()).read, Selection(**selection))()
    return [pair_id for batch in batches for pair_id in batch.column("pair_id").to_pylist()]


def ids(numbers: Sequence[int]) -> list[str]:
    return [f"p{number:03d}" for number in numbers]


def test_by_default_all_pairs_are_taken() -> None:
    assert taken() == ids(range(300))


def test_subsets_and_folders_of_subsets_are_taken_in_the_order_of_the_manifest() -> None:
    assert taken(subsets=("test",)) == ids(range(2, 300, 3))
    assert taken(subsets=("train",)) == ids([n for n in range(300) if n % 3 < 2])
    assert taken(subsets=("test", "train/day")) == ids([n for n in range(300) if n % 3 != 1])


@pytest.mark.parametrize(
    ("name", "message"),
    [("tset", "Unknown subset 'tset'; did you mean test"), ("x", "'x'; the subsets are: test, tr")],
)
def test_an_unknown_subset_is_named(name: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        taken(subsets=("test", name))
    with pytest.raises(InvalidValueError, match=message):
        taken(subsets=("test", name), limit=1)


def test_a_subset_of_pairs_without_subsets_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="'day'; no pair belongs to a subset"):
        taken(Source([{"pair_id": "a", "subset": ""}]), subsets=("day",))


def test_a_condition_is_evaluated_over_all_columns() -> None:
    assert taken(where="lux BETWEEN 3 AND 4") == ids([6, 7, 8])
    assert taken(where="frame::int > 297 OR pair_id LIKE '%010'") == ids([10, 298, 299])
    assert taken(where="subset = 'test' AND lux < 4") == ids([2, 5])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sbset = 'test'", "Unknown column 'sbset'; did you mean subset"),
        ("weather = 'fog'", "the columns are: pair_id, subset, frame, lux"),
        ('subset = "test"', "text stands between single quotes"),
        (" ", "the condition is empty"),
        ("subset =", "syntax error at or near"),
        ("subset = 'a", "unterminated"),
        ("subset = 'a', 1", "single expression"),
        ("true) OR (true", "syntax error"),
        ("frame > 3", "a CSV manifest has text: write COLUMN::int > 100"),
        ("pair_id::int > 3", "Could not convert string 'p000' to INT32"),
        ("count(*) > 1", "cannot contain aggregates"),
        ("EXISTS (SELECT * FROM read_csv('/etc/passwd'))", "operations are disabled"),
        ("EXISTS (SELECT * FROM ROWS)", "does not exist"),
    ],
)
def test_a_condition_that_makes_no_sense_is_explained_in_one_line(where: str, message: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        taken(where=where)
    assert message in str(caught.value)
    assert str(caught.value).startswith("--where ")
    assert "\n" not in str(caught.value)
    assert "Error:" not in str(caught.value)


def test_a_sample_is_the_same_in_any_order_and_of_the_requested_size() -> None:
    drawn = taken(sample=40, seed=1)
    assert len(drawn) == 40
    assert drawn == sorted(drawn)
    shuffled = [ROWS[n] for n in np.random.default_rng(0).permutation(len(ROWS))]
    assert sorted(taken(Source(shuffled, size=11), sample=40, seed=1)) == drawn
    assert taken(sample=40, seed=2) != drawn


def test_the_sample_of_a_seed_never_changes() -> None:
    assert taken(sample=5, seed=0) == ids([93, 156, 163, 206, 263])


def test_a_larger_sample_contains_a_smaller_one_and_at_most_all() -> None:
    assert set(taken(sample=10, seed=3)) < set(taken(sample=50, seed=3))
    assert taken(sample=1000, seed=3) == ids(range(300))


def test_a_sample_is_drawn_from_the_subset_and_the_limit_is_last() -> None:
    drawn = taken(subsets=("test",), where="lux < 100", sample=20, seed=5)
    assert len(drawn) == 20
    assert set(drawn) <= set(ids(range(2, 200, 3)))
    assert taken(subsets=("test",), where="lux < 100", sample=20, seed=5, limit=3) == drawn[:3]


def test_a_sample_of_many_pairs_keeps_no_more_hashes_than_needed() -> None:
    rows = [{"pair_id": f"{n}", "subset": ""} for n in range(140_000)]
    drawn = taken(Source(rows, size=20_000), sample=3, seed=0)
    assert len(drawn) == 3
    assert drawn == taken(Source(rows[::-1], size=20_000), sample=3, seed=0)[::-1]


def test_a_limit_reads_no_further_than_it_must() -> None:
    source = Source()
    assert taken(source, limit=10) == ids(range(10))
    assert source.reads == 2


def test_a_selection_without_pairs_is_an_error() -> None:
    with pytest.raises(ManifestError, match="None of the 300 pairs fits"):
        taken(where="lux > 1000")


def test_columns_keep_their_types() -> None:
    (batch,) = select(Source(size=300).read, Selection(where="lux > 1", limit=2))()
    assert batch.schema == Source().batches[0].schema
