"""The soak: that it kills, and that it sees what is wrong with rows."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.cli import run_module

import irfuse
from cluster.runs import RunRecord, encode_shard, open_shard, read_facts, shard_key
from cluster.storage import Store, read_record
from fusion_core.errors import InvalidValueError
from irfuse import RunOptions
from tests.acceptance.inspection import inspect_rows, write_collection
from tests.acceptance.soak import SoakReport, measure_soak, parse_seconds, print_report

pytestmark = pytest.mark.slow

PAIRS = 110

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def finished(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection as the soak makes it, and an undisturbed run of it."""
    folder = tmp_path_factory.mktemp("soak")
    write_collection(Store(str(folder / "pairs")), PAIRS, 16)
    irfuse.run(
        RunOptions(
            source=str(folder / "pairs"), out=str(folder / "run"), address=ray_address,
            shard_size=20,
        )
    )  # fmt: skip
    return folder


def rewrite(out: Store, shard: int, change: Callable[[Records], Records]) -> None:
    record = read_record(out, RunRecord)
    parquet = open_shard(out.open(shard_key(shard)))
    facts = read_facts(parquet)
    assert facts is not None
    data = encode_shard(
        change(parquet.read().to_pylist()), record.metrics, fingerprint=facts.fingerprint,
        shard=shard, started=facts.started, committed=facts.committed,
    )  # fmt: skip
    out.write(shard_key(shard), bytes(data))


def changed(change: dict[str, Any]) -> Callable[[Records], Records]:
    return lambda rows: [{**rows[0], **change}, *rows[1:]]


NOTHING = {"lost": 0, "doubled": 0, "wrong": 0, "strays": []}
DAMAGES: dict[str, tuple[Callable[[Records], Records], dict[str, int]]] = {
    "another score": (changed({"EN": 1.0}), {"wrong": 1}),
    "another picture": (changed({"fused": {"bytes": b"", "path": None}}), {"wrong": 1}),
    "a failed row": (changed({"status": "failed"}), {"wrong": 1}),
    "two rows exchanged": (lambda rows: [rows[1], rows[0], *rows[2:]], {"wrong": 2}),
    "a row of another pair": (
        lambda rows: [{**rows[0], "pair_id": rows[1]["pair_id"]}, *rows[1:]],
        {"lost": 1, "doubled": 1, "wrong": 1},
    ),
    "a row more at the end": (lambda rows: [*rows, rows[-1]], {"doubled": 1, "wrong": 1}),
    "a row less at the end": (lambda rows: rows[:-1], {"lost": 1}),
}


def test_an_undisturbed_run_is_flawless(finished: Path) -> None:
    found = inspect_rows(Store(str(finished / "pairs")), Store(str(finished / "run")), PAIRS)
    assert vars(found) == NOTHING


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_counted(finished: Path, tmp_path: Path, damage: str) -> None:
    change, expected = DAMAGES[damage]
    shutil.copytree(finished / "run", tmp_path / "run")
    out = Store(str(tmp_path / "run"))
    rewrite(out, 5, change)
    assert vars(inspect_rows(Store(str(finished / "pairs")), out, PAIRS)) == NOTHING | expected


def test_objects_of_no_run_are_strays(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    out = Store(str(tmp_path / "run"))
    out.write("shards/shard-000006.parquet", b"")
    out.write("shards/shard-000001 (copy).parquet", b"")
    found = inspect_rows(Store(str(finished / "pairs")), out, PAIRS)
    assert found.strays == ["shards/shard-000001 (copy).parquet", "shards/shard-000006.parquet"]


def test_a_run_survives_the_soak() -> None:
    arguments = ("--pairs", "400", "--kill-every", "10s", "--json")
    result = run_module("tests.acceptance.soak", *arguments, timeout=280)
    assert result.returncode == 0, result.stderr
    report = SoakReport(**json.loads(result.stdout))
    assert report.flawless
    assert report.workers_killed + report.drivers_killed > 0


def test_result_of_the_soak_is_printed() -> None:
    report = SoakReport(
        machine="m", versions={}, pairs=12_345, seconds=67.8, workers_killed=9, drivers_killed=4,
        lost=1, doubled=2, wrong=3, strays=["x"],
    )  # fmt: skip
    assert not report.flawless
    output = io.StringIO()
    print_report(Console(file=output, width=160), report)
    lines = [line.split("│")[1:3] for line in output.getvalue().splitlines() if "│" in line]
    assert {name.strip(): value.strip() for name, value in lines} == {
        "pairs": "12,345", "seconds": "68", "workers killed": "9", "drivers killed": "4",
        "rows lost": "1", "rows doubled": "2", "rows wrong": "3", "stray objects": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "setting", [{"pairs": 0}, {"side": 0}, {"workers": 0}, {"kill_every": 0.0}]
)
def test_a_soak_of_nothing_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="Expected at least one pair"):
        measure_soak(**setting)


def test_times_have_units() -> None:
    assert [parse_seconds(text) for text in ("15s", "2m", "1h", "7")] == [15, 120, 3600, 7]
    with pytest.raises(InvalidValueError, match="Expected a time such as 15s or 2m, but got soon"):
        parse_seconds("soon")
