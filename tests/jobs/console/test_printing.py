"""Names from untrusted sources cannot move the cursor, hide, or break a table."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from support.collections import write_pairs
from support.records import worker_config
from support.summaries import run_summary

from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.layouts import Discovery
from cluster.collections.user_manifest import read_user_manifest
from cluster.runs.driver import Snapshot
from cluster.runs.messages import ShardTask
from cluster.runs.record import RunRecord
from cluster.runs.worker import ShardProcessor
from cluster.storage.store import Store
from fusion_core.errors import IrfuseError
from jobs.console import main as cli
from jobs.console.pairs import print_pairs
from jobs.console.printing import printable
from jobs.console.progress import BarProgress, PlainProgress
from jobs.console.status import print_status
from jobs.console.summaries import print_summaries
from jobs.options import PairsOptions, StatusOptions, SummarizeOptions
from jobs.pairs import PairsResult
from jobs.status import status
from jobs.summarize import summarize_run, write_summary
from jobs.summary import Summary, summary_csv

NASTY = [
    "../escape", "/etc/irfuse-escape", "a\0b", "a\nb", "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m",
    "\u202eevil", "[/nope]", "[link=http://x]y", "a\rb", "=1+1", 'a"b,c', "x" * 10_000,
]  # fmt: skip


def run_of(folder: Path) -> tuple[Store, RunRecord]:
    """Compute a run whose pair ids and subsets are nasty and whose images are missing."""
    source = write_pairs(folder / "in", 1)
    names = [{"pair_id": name, "subset": name} for name in NASTY]
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, ["pair_id", "subset", "ir_uri", "vis_uri"])
    writer.writeheader()
    for row in names:
        writer.writerow(
            {**row, "ir_uri": f"ir/{row['pair_id'].replace(':', '')}", "vis_uri": "vis/0000.png"}
        )
    source.write("list.csv", sink.getvalue().encode())
    out = Store(str(folder / "out"))
    info, frozen = freeze(read_user_manifest(source, "list.csv"))
    out.write(MANIFEST_KEY, frozen)
    config = worker_config(out, info, name="[/method]", max_pixels=10_000)
    record = config.record
    out.write(record.key, record.model_dump_json().encode())
    ShardProcessor(config).process(ShardTask(0))
    return out, record


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store, Summary]:
    folder = tmp_path_factory.mktemp("nasty")
    out, record = run_of(folder)
    summary = summarize_run(out, record)
    write_summary(out, summary)
    return folder, out, summary


def assert_harmless(shown: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in shown)


def terminal() -> Console:
    return Console(file=io.StringIO(), width=20_000, color_system=None)


def shown_by(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_pair_ids_land_nowhere_on_disk(nasty: tuple[Path, Store, Summary]) -> None:
    folder, out, _ = nasty
    assert [entry.key for entry in out.entries()] == [
        "manifest.parquet", "run.json", "shards/shard-000000.parquet", "summary.csv",
        "summary.json",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == ["in", "out"]
    assert not Path("/etc/irfuse-escape").exists()


def test_the_status_shows_every_failed_pair_and_obeys_none(
    nasty: tuple[Path, Store, Summary],
) -> None:
    console = terminal()
    options = StatusOptions(out=nasty[1].url, failures=100)
    print_status(console, status(options), options)
    shown = shown_by(console)
    assert_harmless(shown)
    assert shown.count("    failed  ") == len(NASTY)
    assert "\\x1b]0;owned\\x07" in shown
    assert "[/nope]" in shown


def test_the_summary_shows_groups_as_they_are_spelt(nasty: tuple[Path, Store, Summary]) -> None:
    console = terminal()
    print_summaries(console, [nasty[2]], SummarizeOptions(outs=(nasty[1].url,)))
    shown = shown_by(console)
    assert_harmless(shown)
    assert "[link=http://x]y" in shown
    assert "\\u202eevil" in shown


def test_the_summary_as_csv_gives_the_groups_back(nasty: tuple[Path, Store, Summary]) -> None:
    rows = list(csv.DictReader(io.StringIO(summary_csv([nasty[2]]), newline="")))
    assert {row["subset"] for row in rows} == {"(all)", *NASTY}


def test_images_without_a_partner_are_shown_harmlessly() -> None:
    console = terminal()
    found = PairsResult(
        source="s",
        rows=0,
        subsets={},
        examples=[],
        digest="",
        output="m.parquet",
        discovery=Discovery([], {}, NASTY[:5], {}),
        repetitions=[],
        labelled=1,
        label_example=NASTY[0],
        other_labels={NASTY[1]: 1},
        check=None,
    )
    print_pairs(console, found, PairsOptions(source="s", output="m.parquet"))
    assert_harmless(shown_by(console))


def test_json_for_machines_holds_no_control_characters(
    nasty: tuple[Path, Store, Summary], capsys: pytest.CaptureFixture[str]
) -> None:
    options = StatusOptions(out=nasty[1].url, failures=100, json_output=True)
    print_status(terminal(), status(options), options)
    shown = capsys.readouterr().out
    assert_harmless(shown)
    assert {failure["pair_id"] for failure in json.loads(shown)["failures"]} == set(NASTY)


def test_progress_shows_names_as_they_are_spelt(capsys: pytest.CaptureFixture[str]) -> None:
    PlainProgress().message("Looking for pairs in \x1b[2J")
    assert capsys.readouterr().err == "Looking for pairs in \\x1b[2J\n"
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    with BarProgress(console).shown() as bar:
        bar.message("Looking for pairs in [/nope]\x1b]0;owned\x07")
    assert "[/nope]\\x1b]0;owned\\x07" in shown_by(console)


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_errors_are_one_line_without_control_characters_and_secrets(
    debug: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str], **options: bool) -> None:
        assert arguments == ["run"]
        raise IrfuseError("no \x1b[2J\nhttps://host/x?sig=hush") from OSError("s3://k:hush@b/x")

    monkeypatch.setattr(cli, "build_app", lambda: fail)
    monkeypatch.setattr("sys.argv", ["irfuse", "run", *debug])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert shown.endswith("Error: no \\x1b[2J\\nhttps://host/x?...\n")
    assert ("Traceback" in shown) == bool(debug)
    assert "hush" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_terminal_without_a_character_shows_another_one(
    errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors)
    monkeypatch.setattr("sys.stdout", terminal)

    def show(arguments: list[str], **options: bool) -> None:
        summary = run_summary("a", EN=7.0, Nabf=0.1)
        for full in (False, True):
            print_summaries(Console(), [summary], SummarizeOptions(outs=("o",), full=full))
        print("größe 红外 …")

    monkeypatch.setattr(cli, "build_app", lambda: show)
    monkeypatch.setattr("sys.argv", ["irfuse", "summarize", "o"])
    cli.main()
    terminal.flush()
    shown = terminal.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    for text in ("EN^", "Nabfv", "~0.2500", "-+-", "gr\\xf6\\xdfe \\u7ea2\\u5916 ."):
        assert text in shown


def test_the_progress_on_a_narrow_terminal_is_one_line_with_the_number_of_pairs() -> None:
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system=None)
    with BarProgress(console).shown() as bar:
        bar.planned(rows=12, todo=12, finished=0, shards=3)
        bar.update(Snapshot(rows=7, failed=1, workers=2, waiting=0, deaths=0))
    assert "pairs 7/12, 1 failed, 0.0 pairs/s, 2 wo…" in shown_by(console)


@pytest.mark.parametrize("text", ["größe 红外 é.png", "plain", ""])
def test_what_can_be_seen_is_not_changed(text: str) -> None:
    assert printable(text) == text


def test_what_cannot_be_encoded_can_be_shown() -> None:
    assert printable("a\udcffb") == "a\\udcffb"
