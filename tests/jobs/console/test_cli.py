"""The command line: messages in this process, claims about a process in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.cli import call_cli, run_cli
from support.collections import read_rows, run_command, write_pairs
from support.environment import child_environment

from fusion_core.metrics import METRICS

HEAVY = ("torch", "ray", "pyarrow", "numpy", "s3fs", "obstore", "numba", "scipy")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['irfuse', 'run', '--help']\n"
        "from jobs.console.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith("[]")
    assert "--max-failure-rate" in shown.stdout


def test_help_shows_the_options_of_the_command_before_those_that_others_share() -> None:
    shown = call_cli("score", "--help").stdout
    assert shown.index("--out ") < shown.index("--fused ") < shown.index("--max-pixels ")


@pytest.mark.parametrize("command", ["run", "show", "metrics"])
def test_help_shows_no_default_that_means_nothing(command: str) -> None:
    shown = " ".join(call_cli(command, "--help").stdout.split())
    assert not [text for text in ("()", "[]", "False") if f"default: {text}" in shown]


@pytest.mark.slow  # `.ci/run` begins with the demo
def test_the_demo_runs_from_nothing_and_says_where_things_are(tmp_path: Path) -> None:
    result = run_cli("demo", tmp_path / "demo", timeout=180)
    assert result.returncode == 0, result.stderr
    assert "12 pairs ok, 0 failed" in result.stdout
    assert "untrained" not in result.stdout
    assert f"{tmp_path}/demo/run/shards" in result.stdout
    assert (tmp_path / "demo/run/summary.json").exists()
    assert f"Preview: {tmp_path}/demo/run/preview.png" in result.stdout
    assert Image.open(tmp_path / "demo/run/preview.png").format == "PNG"
    assert "raylet" not in result.stdout + result.stderr


def test_a_mistake_is_one_sentence_without_traceback(tmp_path: Path) -> None:
    result = call_cli("run", tmp_path / "absent", "--out", tmp_path / "o", "--weights", "random:0")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        f"Error: {tmp_path}/absent does not exist or is empty; check the path or URL"
    )
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = call_cli(
        "run", tmp_path / "absent", "--out", tmp_path / "o", "--weights", "random:0", "--debug"
    )
    assert "Traceback" in result.stderr


def test_wrong_options_are_usage_errors(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 1)
    command = ("run", tmp_path / "in", "--out", tmp_path / "o", "--weights", "random:0")
    for arguments, message in (
        (["--param", "strategy"], "Expected NAME=VALUE"),
        (["--param", "radius=x"], "radius"),
        (["--workers", "0"], "workers"),
        (["--max-failure-rate", "2"], "max-failure-rate"),
        (["--metrics", "EN,nope"], "Unknown metric 'nope'"),
        (["--layout", "foldrs"], "but got 'foldrs'; did you mean folders?"),
        (["--param", "strategy=aditon"], "but got 'aditon'; did you mean addition?"),
        (["--metod", "average"], "Did you mean --method?"),
        (["--score-colour", "as_toolkit"], "Expected the preset of a program"),
    ):
        result = call_cli(*command, *arguments)
        assert result.returncode == 2, arguments
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 1)
    result = call_cli(
        "run", tmp_path / "in", "--out", tmp_path / "o", "--weights", "random:0",
        "--address", "127.0.0.1:1",
    )  # fmt: skip
    assert result.returncode == 1
    assert "Cannot use Ray at 127.0.0.1:1" in result.stderr


def test_pairs_prints_what_it_matched_and_ignored_with_examples(tmp_path: Path) -> None:
    store = write_pairs(tmp_path / "in/day", 2)
    write_pairs(tmp_path / "in/night", 5)
    for key in ("ir/Thumbs.db", "labels/0000.png", "ir/lonely.png", "vis/0001.jpg"):
        store.write(key, b"x")
    os.mkfifo(tmp_path / "in/pipe.png")
    result = call_cli("pairs", tmp_path / "in")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"{tmp_path}/in: 7 pairs (layout: folders)",
        "",
        "subset  pairs",
        "day         2",
        "night       5",
        "",
        "For example",
        "  day/0000",
        "      infrared day/ir/0000.png",
        "      visible  day/vis/0000.png",
        "  night/0000",
        "      infrared night/ir/0000.png",
        "      visible  night/vis/0000.png",
        "  day/0001",
        "      infrared day/ir/0001.png",
        "      visible  day/vis/0001.png",
        "",
        "Labels: 1 of 7 pairs, such as day/labels/0000.png",
        "",
        "Without a partner (1): day/ir/lonely.png",
        "Left out, FIFOs, sockets and devices (1): pipe.png",
        "Ignored, Thumbs.db and system files (1), such as day/ir/Thumbs.db",
        "Ignored, another format of a paired image (1), such as day/vis/0001.jpg",
        "The subset day repeats 2 pairs of night, as far as names and sizes of the files show",
        "",
        "Nothing was written; --output FILE.parquet writes a manifest.",
    ]
    assert os.listdir(tmp_path) == ["in"]


def test_pairs_checks_headers_and_ends_with_status_1_if_pairs_cannot_be_fused(
    tmp_path: Path,
) -> None:
    store = write_pairs(tmp_path / "in", 3)
    good = call_cli("pairs", tmp_path / "in", "--check")
    assert good.returncode == 0, good.stderr
    for line in (
        "Sizes: 64x48 (1), 57x33 (1), 48x64 (1)",
        "Visible: 8-bit RGB (2), 8-bit gray (1)",
    ):
        assert f"{line}\n" in good.stdout
    store.write("ir/0001.png", store.read("ir/0000.png"))
    store.write("ir/0002.png", b"")
    bad = call_cli("pairs", tmp_path / "in", "--check")
    assert bad.returncode == 1
    assert "  0001: infrared 64x48, visible 57x33\n" in bad.stdout
    assert (
        "2 of 3 pairs cannot be fused as they are (1 of different sizes, 1 unreadable)"
        in bad.stderr
    )
    resized = call_cli("pairs", tmp_path / "in", "--check", "--resize", "smaller")
    assert "1 of 3 pairs cannot be fused as they are (1 unreadable)" in resized.stderr
    unused = call_cli("pairs", tmp_path / "in", "--resize", "smaller", "--band", "ir=1")
    assert unused.returncode == 2
    assert "Expected --check together with --band and --resize" in unused.stderr


def test_pairs_shows_a_manifest_too(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("ir_uri,vis_uri\na/1.png,b/1.png\nc.png,c.png\n")
    result = call_cli("pairs", tmp_path / "m.csv", "--output", tmp_path / "m.parquet")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"{tmp_path}/m.csv: 2 pairs in the manifest",
        "",
        "For example",
        "  a/1",
        f"      infrared {tmp_path}/a/1.png",
        f"      visible  {tmp_path}/b/1.png",
        "  c",
        f"      infrared and visible {tmp_path}/c.png",
        "",
        f"Manifest: {tmp_path}/m.parquet",
    ]


def test_chosen_metrics_are_computed_and_printed_as_json_for_machines(
    ray_address: str, tmp_path: Path
) -> None:
    store = write_pairs(tmp_path / "in", 4)
    store.write("ir/0002.png", b"")
    command = run_command(store.url, tmp_path / "o", ray_address, "--metrics", "EN,SSIM_a")
    assert call_cli(*command).returncode == 1
    status = json.loads(call_cli("status", tmp_path / "o", "--json").stdout)
    assert (status["ok"], status["failed"], status["trained"]) == (3, 1, False)
    assert status["failures"][0]["pair_id"] == "0002"
    for row in read_rows(tmp_path / "o"):
        assert set(METRICS) & set(row) == {"EN", "SSIM_a"}
        assert row["status"] == "failed" or min(row["EN"], row["SSIM_a"]) > 0
    records = json.loads(call_cli("summarize", tmp_path / "o", "--json").stdout)
    assert [(record["metric"], record["count"]) for record in records] == [("EN", 3), ("SSIM_a", 3)]
    table = call_cli("summarize", tmp_path / "o").stdout
    assert "in: densefuse [untrained], 4 pairs" in table
    assert "SSIM_a" in table


def test_a_location_without_a_run_is_said_to_have_none(tmp_path: Path) -> None:
    result = call_cli("status", tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "contains no run" in result.stderr


def test_a_reader_that_ends_early_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "irfuse", "metrics"]
    with open(writer, "wb") as output:
        ended = subprocess.run(
            command, stdout=output, stderr=subprocess.PIPE, env=child_environment(), check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_storage_options_are_json_objects_too_and_never_repeated(tmp_path: Path) -> None:
    found = call_cli("status", tmp_path, "--storage-options", '{"auto_mkdir": true}')
    assert "contains no run" in found.stderr
    for texts in (
        ('{"secret": "hidden",}',),
        ('["secret=hidden"]',),
        ("hidden",),
        ("key=x", "secret=hidden"),
    ):
        found = call_cli("status", tmp_path, "--storage-options", *texts)
        assert found.returncode == 2
        assert "hidden" not in found.stderr
        assert len(found.stderr.strip().splitlines()) == 1
