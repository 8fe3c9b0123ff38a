"""The preview at the end of a run, and `irfuse show`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.cli import call_cli
from support.collections import read_rows
from support.computed_runs import compute_run
from support.environment import child_environment

from cluster.runs import Gallery, Ledger, RunRecord, shard_key
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, NotFoundError
from irfuse import ShowOptions, show
from jobs.preview import PREVIEW_KEY, spread_choices, update_preview
from jobs.sheets import Choice
from jobs.show import _merge

PAIRS = 11


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RunRecord]:
    """A run of eleven pairs in three shards, of which pairs 5 and 10 failed."""
    return compute_run(tmp_path_factory.mktemp("shown"), PAIRS, damaged=(5, 10))


def spread(run: tuple[Store, RunRecord], count: int) -> list[int]:
    gallery, shards = Gallery(*run), Ledger(*run).listing().shards
    return [choice.position for choice in spread_choices(gallery, run[1], shards, count)]


def shown(run: tuple[Store, RunRecord], **options: object) -> list[int]:
    """Return which pairs are shown, after checking that the picture is one."""
    sheet = show(ShowOptions(out=run[0].url, **options))
    assert Image.open(sheet.location).format == "PNG"
    return sheet.positions


@pytest.mark.parametrize(
    ("count", "positions"),
    [
        (1, [6]),
        (2, [2, 8]),
        (3, [1, 6, 9]),
        (6, [0, 2, 4, 6, 8, 9]),
        (50, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
    ],
)
def test_pairs_at_equal_distances_are_chosen_and_failed_ones_replaced(
    finished: tuple[Store, RunRecord], count: int, positions: list[int]
) -> None:
    assert spread(finished, count) == positions


def test_pairs_of_an_unfinished_run_are_chosen_from_its_committed_shards(tmp_path: Path) -> None:
    run = compute_run(tmp_path, PAIRS, shards=range(1, 3))
    assert spread(run, 3) == [5, 7, 9]


def test_nothing_is_chosen_from_a_run_without_shards(tmp_path: Path) -> None:
    run = compute_run(tmp_path, 3, shards=range(0))
    assert spread(run, 3) == []
    with pytest.raises(NotFoundError, match="has no finished pairs to show"):
        show(ShowOptions(out=run[0].url))


def test_the_preview_is_drawn_when_rows_were_computed_or_it_is_missing(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 3)
    preview = update_preview(out, record, outdated=False)
    assert (preview.location, preview.problem) == (out.uri(PREVIEW_KEY), None)
    assert Image.open(out.uri(PREVIEW_KEY)).format == "PNG"
    out.write(PREVIEW_KEY, b"old")
    update_preview(out, record, outdated=False)
    assert out.read(PREVIEW_KEY) == b"old"
    update_preview(out, record, outdated=True)
    assert out.read(PREVIEW_KEY) != b"old"


def test_a_run_that_keeps_no_images_has_no_preview(tmp_path: Path) -> None:
    preview = update_preview(*compute_run(tmp_path, 3, keep_images=False), outdated=True)
    assert preview.location is None
    assert preview.problem == "the run keeps no images (--no-keep-images)"


def test_a_run_in_which_everything_failed_has_no_preview(tmp_path: Path) -> None:
    preview = update_preview(*compute_run(tmp_path, 2, damaged=(0, 1)), outdated=True)
    assert preview.problem == "no pair was fused in the shards that were looked at"


def test_a_preview_that_cannot_be_drawn_is_no_error(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 3)
    out.write(shard_key(0), b"junk")
    preview = update_preview(out, record, outdated=True)
    assert preview.location is None
    assert "shard-000000.parquet is damaged" in str(preview.problem)


def test_pairs_are_shown_by_their_names(finished: tuple[Store, RunRecord]) -> None:
    assert shown(finished, pairs=("0007", "0002")) == [7, 2]


def test_pairs_are_shown_by_the_last_parts_of_their_names(tmp_path: Path) -> None:
    run = compute_run(tmp_path, 2, subsets=("a/day", "a/night"))
    assert shown(run, pairs=("night/0001", "a/day/0000")) == [3, 0]
    with pytest.raises(InvalidValueError, match="2 pairs end in '0001', such as a/day/0001, a/nig"):
        show(ShowOptions(out=run[0].url, pairs=("0001",)))


def test_an_unknown_pair_gets_a_suggestion(finished: tuple[Store, RunRecord]) -> None:
    with pytest.raises(InvalidValueError, match="Unknown pair '00071'; did you mean 0007"):
        show(ShowOptions(out=finished[0].url, pairs=("00071",)))


@pytest.mark.parametrize("metric", ["EN", "SD"])
def test_the_best_and_the_worst_pairs_are_shown(
    finished: tuple[Store, RunRecord], metric: str
) -> None:
    rows = read_rows(finished[0].url)
    ranked = sorted((n for n in range(PAIRS) if rows[n][metric]), key=lambda n: -rows[n][metric])
    assert shown(finished, best=metric, count=3) == ranked[:3]
    assert shown(finished, worst=metric, count=2) == ranked[:-3:-1]
    assert shown(finished, best=metric, worst=metric, count=1) == [ranked[0], ranked[-1]]


def test_a_pair_that_is_chosen_twice_is_shown_once_with_both_reasons() -> None:
    choices = [Choice(3, "EN", "best EN"), Choice(4), Choice(3, "SD", "worst SD"), Choice(4)]
    assert _merge(choices) == [Choice(3, "EN", "best EN, worst SD"), Choice(4)]


def test_failed_pairs_are_shown(finished: tuple[Store, RunRecord]) -> None:
    assert shown(finished, failed=True) == [5, 10]
    assert shown(finished, failed=True, pairs=("0001",), count=1) == [1, 5]


def test_a_run_without_failed_pairs_has_none_to_show(tmp_path: Path) -> None:
    out, _ = compute_run(tmp_path, 1)
    with pytest.raises(NotFoundError, match="has no failed pairs to show"):
        show(ShowOptions(out=out.url, failed=True))


def test_a_metric_that_the_run_has_not_is_refused(finished: tuple[Store, RunRecord]) -> None:
    with pytest.raises(InvalidValueError, match="Unknown metric 'Qabf'; the metrics are: EN, SD"):
        show(ShowOptions(out=finished[0].url, best="Qabf"))


def test_a_metric_without_a_better_direction_ranks_nothing(tmp_path: Path) -> None:
    out, _ = compute_run(tmp_path, 1, metrics=["TE_mefb"])
    with pytest.raises(InvalidValueError, match="TE_mefb has no better direction"):
        show(ShowOptions(out=out.url, worst="TE_mefb"))


def test_the_command_writes_the_sheet_where_it_is_told(
    finished: tuple[Store, RunRecord], tmp_path: Path
) -> None:
    path = tmp_path / "sheet.png"
    result = call_cli("show", finished[0].url, "0003", "0001", "-o", path)
    assert (result.returncode, result.stdout.split()) == (0, ["2", "pairs:", str(path)])
    result = call_cli("show", finished[0].url, "-o", tmp_path / "sheet.jpg")
    assert result.returncode == 2
    assert "ends in .png" in result.stderr


def test_drawing_imports_neither_torch_nor_ray(finished: tuple[Store, RunRecord]) -> None:
    code = (
        "import sys; from irfuse import ShowOptions, show\n"
        f"show(ShowOptions(out={finished[0].url!r}))\n"
        "print([m for m in ('torch', 'ray', 's3fs', 'obstore', 'numba') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True
    )
    assert shown.stdout.strip() == "[]", shown.stderr


def test_a_location_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="contains no run"):
        show(ShowOptions(out=str(tmp_path)))
