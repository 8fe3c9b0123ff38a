"""Statistics and status, from shards that are written by hand."""

import csv
import errno
import io
import json
import warnings
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from scipy import stats
from support.records import encoded_shard, method_origin, result_row, run_record

from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.runs.config import RunTarget
from cluster.runs.ledger import Ledger
from cluster.runs.plan import shard_key
from cluster.runs.rows import ResultRow
from cluster.runs.score_part_writer import ScorePartWriter
from cluster.runs.score_parts import SCORES_PREFIX
from cluster.runs.shards import Shards
from cluster.storage.store import Store
from fusion_core.errors import NotFoundError, StorageError
from fusion_core.statistics.bootstrap import bootstrap_intervals
from fusion_core.statistics.description import describe
from jobs.console.summaries import print_summaries
from jobs.failures import list_failures
from jobs.options import FailuresOptions, StatusOptions, SummarizeOptions, VerifyOptions
from jobs.remaining import find_remaining
from jobs.status import status
from jobs.summarize import summarize, summarize_run, update_summary
from jobs.summary import ALL_SUBSETS
from jobs.verify import verify

METRICS = ["EN", "SCD"]
SUBSETS = ["day", "day", "day", "dusk", "night", "day"]
PAIRS = [
    {"pair_id": f"p{number}", "ir_uri": "i", "vis_uri": "v", "subset": subset}
    for number, subset in enumerate(SUBSETS)
]
INFO, MANIFEST = freeze([pa.RecordBatch.from_pylist(PAIRS)])
RECORD = run_record(
    INFO,
    name="m",
    origin=method_origin(method="m", weights_trained=True),
    metrics=METRICS,
    shard_size=2,
)


def row(number: int, *, subset: str = "day", fails: str | None = None) -> ResultRow:
    result = result_row(f"p{number}", subset=subset)
    result.metrics = {"EN": float(number), "SCD": None if number == 0 else 0.5}
    if fails:
        result.status, result.error_stage = "failed", "decode"
        result.error_type, result.error_message = "ImageDecodeError", fails
        result.metrics = {"EN": None, "SCD": None}
    return result


def write_shard(
    out: Store, shard: int, rows: list[ResultRow], *, minute: int = 0, **facts: Any
) -> None:
    start = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
    known = {
        "fingerprint": RECORD.fingerprint,
        "shard": shard,
        "started": start,
        "committed": start + timedelta(seconds=10),
    }
    out.write(shard_key(shard), encoded_shard(rows, METRICS, **{**known, **facts}))


@pytest.fixture
def out(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    store.write("run.json", RECORD.model_dump_json().encode())
    store.write(MANIFEST_KEY, MANIFEST)
    write_shard(store, 0, [row(0), row(1)])
    write_shard(store, 2, [row(4, subset="night"), row(5, fails="empty")], minute=30)
    return store


def test_status_counts_what_is_there(out: Store) -> None:
    found = status(StatusOptions(out=out.url))
    assert (found.shards, found.shards_done) == (3, 2)
    assert (found.ok, found.failed, found.rows_left) == (3, 1, 2)
    assert found.failed_stages == {"decode": 1}
    assert found.failures[0].message == "empty"


def test_speed_counts_only_the_time_in_which_shards_were_in_work(out: Store) -> None:
    assert status(StatusOptions(out=out.url)).pairs_per_second == pytest.approx(4 / 20)


def test_overlapping_shards_count_their_time_once(out: Store) -> None:
    write_shard(out, 1, [row(2), row(3)])
    assert status(StatusOptions(out=out.url)).pairs_per_second == pytest.approx(6 / 20)


def test_groups_and_the_whole_are_described(out: Store) -> None:
    (summary,) = summarize(SummarizeOptions(outs=(out.url,)))
    assert [(g.subset, g.count, g.failed) for g in summary.subsets] == [
        (ALL_SUBSETS, 4, 1), ("day", 3, 1), ("dusk", 0, 0), ("night", 1, 0),
    ]  # fmt: skip
    assert summary.subsets[0].metrics["EN"].mean == pytest.approx(5 / 3)
    assert summary.subsets[0].metrics["SCD"].count == 2


def test_the_summary_is_written_as_json_and_csv(out: Store) -> None:
    (summary,) = summarize(SummarizeOptions(outs=(out.url,)))
    assert json.loads(out.read("summary.json")) == summary.model_dump()
    lines = list(csv.DictReader(io.StringIO(out.read("summary.csv").decode())))
    assert len(lines) == 8
    assert float(lines[0]["mean"]) == summary.subsets[0].metrics["EN"].mean


def test_the_summary_of_an_unfinished_run_says_how_many_pairs_of_which_it_has(
    out: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    (summary,) = summarize(SummarizeOptions(outs=(out.url,)))
    expected = [(ALL_SUBSETS, 4, 6), ("day", 3, 4), ("dusk", 0, 1), ("night", 1, 1)]
    assert [(part.subset, part.count, part.total) for part in summary.subsets] == expected
    lines = list(csv.DictReader(io.StringIO(out.read("summary.csv").decode())))
    assert (lines[0]["pairs"], lines[0]["total_pairs"]) == ("4", "6")
    for full in (False, True):
        options = SummarizeOptions(outs=(out.url,), full=full)
        print_summaries(Console(width=100), [summary], options)
    shown = capsys.readouterr().out
    assert "\ndusk   0/1        –        –" in shown
    assert "pairs, m, dusk: 0 of 1 pair," in shown
    assert shown.count("m is unfinished: 4 of 6 pairs have a row") == 2


def test_a_shard_of_another_run_is_refused(out: Store) -> None:
    write_shard(out, 1, [row(2), row(3)], fingerprint="other")
    with pytest.raises(StorageError, match="shard 1: it was written by a run with other settings"):
        summarize(SummarizeOptions(outs=(out.url,)))


def test_a_damaged_shard_is_named(out: Store) -> None:
    out.write(shard_key(1), b"PAR1 rubbish PAR1")
    with pytest.raises(StorageError, match=r"1 shard damaged \(shard 1: it cannot be read"):
        summarize(SummarizeOptions(outs=(out.url,)))


def test_a_location_without_a_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="contains no run"):
        status(StatusOptions(out=str(tmp_path / "x")))


def test_a_run_without_shards_has_an_empty_summary(out: Store) -> None:
    for shard in (0, 2):
        out.delete(shard_key(shard))
    (summary,) = summarize(SummarizeOptions(outs=(out.url,)))
    assert (summary.rows, summary.subsets[0].metrics["EN"].mean) == (0, None)


def test_compacted_scores_change_nothing_but_the_time(
    out: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> tuple[object, ...]:
        return (
            summarize_run(out, RECORD),
            status(StatusOptions(out=out.url)),
            list_failures(FailuresOptions(out=out.url)),
            find_remaining(Ledger(out, RECORD), RECORD, retry_failed=True),
        )

    from_shards = read()
    with closing(ScorePartWriter(RunTarget(RECORD, out), print)) as scores:
        update_summary(out, RECORD, scores)
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "read", None)  # no shard is read
        assert read() == from_shards
    for entry in out.entries(SCORES_PREFIX):
        out.delete(entry.key)
    assert read() == from_shards


def test_compacted_scores_that_differ_from_a_shard_are_an_error_of_verify(out: Store) -> None:
    with closing(ScorePartWriter(RunTarget(RECORD, out), print)) as scores:
        update_summary(out, RECORD, scores)
    found = verify(VerifyOptions(out=out.url))
    assert (found.wrong_scores, found.unusable_scores) == ([], [])
    found.check()
    writer = ScorePartWriter(RunTarget(RECORD, out), print)
    for content in Ledger(out, RECORD).contents(Ledger(out, RECORD).parts.columns):
        table = content.table
        assert table is not None
        place = table.schema.get_field_index("EN")
        other = table.set_column(place, table.schema.field(place), pa.array([9.0] * len(table)))
        writer.keep_content(replace(content, table=other))
    for entry in out.entries(SCORES_PREFIX):
        out.delete(entry.key)
    writer.close()
    out.write(f"{SCORES_PREFIX}/mine.txt", b"")
    found = verify(VerifyOptions(out=out.url))
    assert found.wrong_scores == [0, 2]
    assert found.unusable_scores == [out.uri(f"{SCORES_PREFIX}/mine.txt")]
    with pytest.raises(StorageError, match=r"delete this folder.*irfuse summarize"):
        found.check()


def test_statistics_are_those_of_numpy() -> None:
    values = np.random.default_rng(1).normal(size=101)
    found = describe(np.append(values, np.nan))
    assert found.count == 101
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert [found.min, found.q25, found.median, found.q75, found.max] == pytest.approx(
        list(np.percentile(values, [0, 25, 50, 75, 100]))
    )


def test_the_interval_agrees_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(2).gamma(2.0, size=200)
    ((low, high),) = bootstrap_intervals([values])  # type: ignore[misc]
    reference = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(3)
    ).confidence_interval
    width = reference.high - reference.low
    assert low == pytest.approx(reference.low, abs=0.06 * width)
    assert high == pytest.approx(reference.high, abs=0.06 * width)


def test_undefined_values_are_left_out_of_the_interval() -> None:
    values = np.random.default_rng(4).normal(5.0, size=50)
    with_gaps = np.append(values, [np.nan] * 50)
    low, high = bootstrap_intervals([with_gaps])[0] or (0.0, 0.0)
    assert low < values.mean() < high
    assert high - low < 1.5


def test_a_metric_that_hardly_a_pair_has_gets_no_interval_from_resamples_without_it() -> None:
    values = np.full(1000, np.nan)
    values[[3, 800]] = 100.0, 101.0
    assert bootstrap_intervals([values]) == [(100.0, 101.0)]


def test_a_metric_that_no_pair_has_goes_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = bootstrap_intervals([np.full(10, np.nan), np.ones(10)])
    assert found == [None, (1.0, 1.0)]


def test_scores_for_which_there_is_no_room_are_a_clear_error(
    out: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    with pytest.raises(StorageError, match=r"No space left on device; free some space.* TMPDIR"):
        summarize(SummarizeOptions(outs=(out.url,)))


def test_one_value_has_no_interval() -> None:
    assert bootstrap_intervals([np.array([1.0])]) == [None]
    assert bootstrap_intervals([np.array([1.0, np.nan])]) == [None]


def test_the_interval_of_many_pairs_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(5).gamma(2.0, size=150_000)
    gaps = np.where(np.arange(len(values)) % 3 == 0, np.nan, values)
    for (low, high), sample in zip(
        bootstrap_intervals([values, gaps]),  # type: ignore[misc]
        (values, gaps[~np.isnan(gaps)]),
        strict=True,
    ):
        reach = 1.96 * sample.std() / np.sqrt(len(sample))
        assert low == pytest.approx(sample.mean() - reach, abs=0.25 * reach)
        assert high == pytest.approx(sample.mean() + reach, abs=0.25 * reach)


def test_groups_that_are_mixed_are_described_as_if_each_stood_alone(out: Store) -> None:
    subsets = ["b", "a", "c", "b", "a", "b"]
    numbers = iter(range(6))
    for shard in range(3):
        rows = [row(number, subset=subsets[number]) for number in (next(numbers), next(numbers))]
        write_shard(out, shard, rows)
    parts = {part.subset: part for part in summarize(SummarizeOptions(outs=(out.url,)))[0].subsets}
    assert list(parts) == [ALL_SUBSETS, "a", "b", "c"]
    members = {name: [n for n in range(6) if subsets[n] == name] for name in "abc"}
    for name, values in members.items():
        found = parts[name].metrics["EN"]
        assert (found.count, found.mean) == (len(values), pytest.approx(np.mean(values)))
        assert (found.min, found.max) == (min(values), max(values))
        assert found.ci_low == (bootstrap_intervals([np.array(values, float)])[0] or (None,))[0]
