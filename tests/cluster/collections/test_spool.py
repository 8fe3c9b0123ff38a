"""Records that are too many for memory: divided, sorted and listed."""

import tempfile
from collections import Counter
from typing import NamedTuple

import pytest

from cluster.collections import spool
from cluster.collections.spool import BUCKETS, Parts, Rows, Runs, bucket_of
from fusion_core.errors import StorageError


class Point(NamedTuple):
    x: int
    y: str


def test_rows_are_a_sequence_of_what_they_were_made_of() -> None:
    points = [Point(n, str(n)) for n in range(3000)]
    rows = Rows(points, Point._make)
    assert len(rows) == 3000
    assert list(rows) == points
    assert rows == points
    assert [rows[n] for n in (0, 1023, 1024, -1)] == [points[n] for n in (0, 1023, 1024, -1)]
    assert rows[1:3] == points[1:3]
    assert isinstance(rows[0], Point)
    with pytest.raises(IndexError, match="below 3000, but got 3000"):
        rows[3000]


def test_rows_differ_from_other_rows() -> None:
    assert Rows([1, 2]) != [1, 3]
    assert Rows([1, 2]) != [1, 2, 3]
    assert Rows([]) == []
    assert Rows([1]) != 1


def test_few_records_are_one_part_and_are_not_divided() -> None:
    def refuse(record: str) -> int:
        raise AssertionError(record)

    parts = Parts(refuse, at_once=3)
    for text in "abc":
        parts.add(text)
    assert (list(parts), parts.divided, len(parts)) == ([["a", "b", "c"]], False, 3)


def test_records_of_one_bucket_are_in_one_part_and_parts_are_small() -> None:
    texts = [str(n % 5000) for n in range(20_000)]
    parts = Parts(bucket_of, at_once=1000)
    for text in texts:
        parts.add(text)
    found = list(parts)
    assert Counter(text for part in found for text in part) == Counter(texts)
    assert len(parts) == 20_000
    assert max(map(len, found)) <= 1000
    homes = {text: number for number, part in enumerate(found) for text in part}
    assert all(homes[text] == number for number, part in enumerate(found) for text in part)
    assert list(parts) == found


def test_parts_are_in_the_order_of_their_buckets_except_for_those_that_are_joined() -> None:
    parts = Parts(int, at_once=1)
    for number in (9, 7, 200, 3):
        parts.add(number)
    assert [part for part in parts if part] == [[3], [7], [9], [200]]
    joined = [sorted(part) for part in parts.parts([(200, 3), (9, 200)]) if part]
    assert joined == [[3, 9, 200], [7]]
    assert bucket_of("text") < BUCKETS


def test_runs_are_merged_and_equal_records_stay_in_their_order() -> None:
    runs = Runs[tuple[int, str]](lambda record: record[0])
    runs.add([(3, "a"), (1, "a"), (3, "b")])
    runs.add([])
    runs.add([(2, "c"), (3, "c")])
    assert list(runs) == [(1, "a"), (2, "c"), (3, "a"), (3, "b"), (3, "c")]
    assert list(runs) == list(runs)


def test_a_full_temporary_folder_is_an_error_with_its_name_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY_BYTES", 10)
    rows = spool.Spool()
    rows.write(["some text that is moved to a file"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_file", open("/dev/full", "r+b", buffering=0))  # noqa: SIM115
        with pytest.raises(StorageError, match=rf"{tempfile.gettempdir()}: No space .* TMPDIR"):
            rows.write(["more"])


def test_records_become_what_they_were_when_they_are_stored_as_plain_tuples() -> None:
    points = [Point(n, str(n)) for n in range(2000)]
    parts = Parts[Point](lambda point: bucket_of(point.y), at_once=500, make=Point)
    for point in points:
        parts.add(point)
    found = [point for part in parts for point in part]
    assert sorted(found) == points
    assert {type(point) for point in found} == {Point}


@pytest.mark.parametrize("count", [3, 3000])
def test_records_of_two_kinds_that_belong_together_are_in_one_part(count: int) -> None:
    numbers = Parts[int](lambda number: bucket_of(str(number)), at_once=500)
    texts = Parts[str](bucket_of, at_once=500)
    for number in range(count):
        numbers.add(number)
    for number in range(0, 3000, 2):
        texts.add(str(number))
    parts = list(numbers.beside(texts))
    assert sorted(number for some, _ in parts for number in some) == list(range(count))
    assert sum(len(others) for _, others in parts) == 1500
    assert max(len(some) + len(others) for some, others in parts) <= 500
    for some, others in parts:
        even = {number for number in some if number % 2 == 0}
        assert even == {int(text) for text in others if int(text) < count}
