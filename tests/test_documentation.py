"""The READMEs: what they show exists, parses, and is what the code says."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from support.cli import run_cli

import irfuse
from cluster.collections.layouts import Layout
from cluster.runs.rows import STAGES, column_table
from fusion_core.methods import METHODS
from fusion_core.metrics import METRICS, PRESETS
from jobs.console.commands import COMMANDS, build_app

ROOT = Path(__file__).resolve().parents[1]
READMES = [
    ROOT / "README.md",
    *(
        path
        for folder in ("fusion_core", "cluster", "jobs", "tests")
        for path in sorted((ROOT / folder).rglob("README.md"))
    ),
]
PICTURE = ROOT / "jobs/demo_pairs.png"
BENCHES = ("metrics", "methods", "train")
NAMES = {path: str(path.relative_to(ROOT)) for path in READMES}
COMMAND_NAMES = [
    f"irfuse {name}" for name in (*COMMANDS, "bench", *map("bench {}".format, BENCHES))
]
SHELLS, NOT_INSTALLED = {"sh", "console"}, {"datasets"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")

readmes = pytest.mark.parametrize("path", READMES, ids=NAMES.values())


def blocks(path: Path, *languages: str) -> list[str]:
    return [text for name, text in _FENCE.findall(path.read_text()) if name in languages]


def prose(path: Path) -> str:
    return _FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a file."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def shell_lines(path: Path) -> Iterator[str]:
    """Yield the lines of the shell blocks that are commands."""
    for name, text in _FENCE.findall(path.read_text()):
        lines = text.replace("\\\n", " ").splitlines()
        if name == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        if name in SHELLS:
            yield from lines


def spans(path: Path) -> list[str]:
    """Return what stands between backticks in the prose."""
    return _SPAN.findall(prose(path))


def calls_of(program: str, line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program in a line, also of calls that it quotes."""
    try:
        tokens = shlex.split(line, comments=True)
    except ValueError:
        return  # not a command
    for token in tokens[1:]:
        if token.startswith(f"{program} "):
            yield from calls_of(program, token)
    for command in " ".join(map(shlex.quote, tokens)).replace("'&&'", "\n").splitlines():
        words = shlex.split(command)
        if words and words[0] == program:
            yield words[1 : words.index(">") if ">" in words else None]


def table_rows(path: Path) -> list[str]:
    """Return the names in the first column of the tables of a README."""
    rows = re.findall(r"^\| (`[^|]*`) \|", prose(path), re.MULTILINE)
    return [name for row in rows for name in _SPAN.findall(row)]


def test_the_top_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@readmes
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), link
        assert file.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(file), link


def test_the_top_readme_links_to_all_others() -> None:
    linked = {(ROOT / link).resolve() for link in _LINK.findall(prose(ROOT / "README.md"))}
    assert {path for path in READMES if path.parent != ROOT} <= linked


@readmes
def test_every_irfuse_command_parses(path: Path) -> None:
    app = build_app()
    lines = [*shell_lines(path), *(span for span in spans(path) if span not in COMMAND_NAMES)]
    for line in lines:
        for arguments in calls_of("irfuse", line):
            if "COMMAND" not in arguments:
                app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_the_readmes_show_every_command_and_a_good_number_of_calls() -> None:
    lines = [line for path in READMES for line in (*shell_lines(path), *spans(path))]
    calls = [" ".join(["irfuse", *words]) for line in lines for words in calls_of("irfuse", line)]
    assert len(calls) > 40
    for name in COMMAND_NAMES:
        assert any(f"{call} ".startswith(f"{name} ") for call in calls), name


@readmes
def test_every_module_that_is_run_exists(path: Path) -> None:
    for line in shell_lines(path):
        for arguments in calls_of("python", line):
            if arguments[:1] == ["-m"]:
                assert importlib.util.find_spec(arguments[1]), line


@readmes
def test_python_blocks_compile_and_use_names_that_exist(path: Path) -> None:
    for text in blocks(path, "python"):
        compile(text, NAMES[path], "exec")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module not in NOT_INSTALLED:
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "irfuse":
                assert node.attr in dir(irfuse), ast.unparse(node)


def test_the_columns_of_the_rows_are_those_of_the_schema() -> None:
    text = (ROOT / "cluster/runs/README.md").read_text()
    assert f"\n\n{column_table()}\n\n" in text
    stages = [name for name in table_rows(ROOT / "cluster/runs/README.md") if name in STAGES]
    assert stages == list(STAGES)


def test_tables_name_all_layouts_methods_and_metrics() -> None:
    rows = table_rows(ROOT / "cluster/collections/README.md")
    assert [name for name in rows if name in get_args(Layout)] == list(get_args(Layout))[1:]
    for folder, registry in (("methods", METHODS), ("metrics", METRICS)):
        rows = table_rows(ROOT / "fusion_core" / folder / "README.md")
        first = list(dict.fromkeys(name for name in rows if name in registry))
        assert first == list(registry), folder


def test_the_speed_of_each_method_is_that_of_the_table() -> None:
    text = prose(ROOT / "fusion_core/methods/README.md")
    table = text.partition("## Speed and memory")[2].partition("## ")[0]
    measured: dict[str, int] = {}
    for name, speed in re.findall(r"^\| `(\w+)`[^|]* \| (\d+) \|", table, re.MULTILINE):
        measured.setdefault(name, int(speed))  # the default parameters come first
    assert measured == {name: spec.ms_per_megapixel for name, spec in METHODS.items()}


def test_the_table_of_presets_shows_their_columns() -> None:
    text = (ROOT / "fusion_core/metrics/README.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|`]*) \|", text, re.MULTILINE))
    for name, preset in PRESETS.items():
        shown = f"all {len(preset.columns)} metrics" if name == "all" else " ".join(preset.columns)
        assert rows[name].startswith(shown), name


def test_the_table_of_jobs_names_options_functions_and_results() -> None:
    for row in re.findall(r"^\| (`irfuse .*) \|$", prose(ROOT / "jobs/README.md"), re.MULTILINE):
        command, options, function, result = _SPAN.findall(row)
        assert COMMANDS[command.removeprefix("irfuse ")].options is getattr(irfuse, options)
        assert callable(getattr(irfuse, function.removeprefix("irfuse."))), row
        assert result in dir(irfuse), row


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the demo was run."""
    folder = tmp_path_factory.mktemp("demo")
    assert run_cli("demo", folder / "irfuse-demo").returncode == 0
    return folder


def test_the_picture_is_small() -> None:
    assert PICTURE.stat().st_size < 600_000


@pytest.mark.slow
def test_the_picture_is_what_the_first_command_draws(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo)
    command = next(line for line in shell_lines(ROOT / "README.md") if "show" in line)
    for arguments in calls_of("irfuse", command):
        assert run_cli(*arguments).returncode == 0
        before, now = (np.asarray(Image.open(file), float) for file in (PICTURE, arguments[-1]))
        assert np.abs(before - now).mean() < 1


@pytest.mark.slow
def test_the_example_of_the_top_readme_prints_what_it_shows(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(demo)
    monkeypatch.delenv("COLUMNS", raising=False)  # a narrow one shortens what is printed
    (session,) = blocks(ROOT / "README.md", "console")
    for part in session.removeprefix("$ ").split("\n$ "):
        command, _, output = part.partition("\n")
        printed = ""
        for arguments in calls_of("irfuse", command):
            ran = run_cli(*arguments)
            assert ran.returncode == 0, ran.stderr
            printed = ran.stdout
        for arguments in calls_of("truncate", command):
            with open(arguments[2], "r+b") as file:
                file.truncate(int(arguments[1]))
        printed_lines = [line.rstrip() for line in printed.splitlines()]
        for line in output.splitlines():
            assert line == "[…]" or "pairs/s" in line or line in printed_lines, line
    (code,) = (text for text in blocks(ROOT / "README.md", "python") if "irfuse.run" in text)
    exec(code, {})
    numbers = re.compile(r"\d+\.\d{3,}")
    shown = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    for expected, line in zip(shown, capsys.readouterr().out.splitlines(), strict=True):
        assert numbers.sub("", expected) == numbers.sub("", line)
        values = [list(map(float, numbers.findall(text))) for text in (expected, line)]
        assert values[0] == pytest.approx(values[1], rel=1e-4)
