"""The measurements of reading and of exports: what they measure and print, not how fast this is."""

import io
import json

import pytest
from rich.console import Console
from support.cli import run_module

from fusion_core.errors import InvalidValueError
from tests.acceptance import exporting, reading
from tests.acceptance.exporting import ExportReport, FormReport, measure_exports
from tests.acceptance.reading import Reader, ReadingReport, measure_reading

pytestmark = pytest.mark.slow


def test_readers_are_measured_by_turns() -> None:
    sizes = ("--width", "64", "--height", "48", "--pairs", "5", "--index-shards", "3")
    result = run_module("tests.acceptance.reading", *sizes, "--repeats", "2", "--json", timeout=240)
    assert result.returncode == 0, result.stderr
    report = ReadingReport(**json.loads(result.stdout[result.stdout.index("{") :]))
    assert [len(reader.seconds) for reader in report.readers] == [2] * 5
    assert min(min(reader.seconds) for reader in report.readers) > 0


def test_exports_of_each_form_are_measured() -> None:
    sizes = ("--width", "64", "--height", "48", "--pairs", "20", "--repeats", "1")
    result = run_module("tests.acceptance.exporting", *sizes, "--json", timeout=240)
    assert result.returncode == 0, result.stderr
    report = ExportReport(**json.loads(result.stdout[result.stdout.index("{") :]))
    assert [form.form for form in report.forms] == list(exporting.FORMS)
    assert all(form.memory_mb > 1 and form.ratio > 0 for form in report.forms)


def test_ratios_are_medians_of_the_rounds() -> None:
    names = ("Pillow from PNG files", "Hugging Face datasets from the shards", "FusedStream")
    spent = ([2.0, 2.0, 9.0], [4.0, 4.0, 4.0], [1.0, 4.0, 3.0])
    readers = [Reader(name=name, seconds=s) for name, s in zip(names, spent, strict=True)]
    report = ReadingReport(
        machine="m", versions={}, width=64, height=48, pairs=5, readers=readers,
        index_shards=3, index_seconds=0.5, index_memory_mb=1.0,
    )  # fmt: skip
    assert report.times_as_fast_as_pillow["FusedStream"] == 2.0
    assert report.times_as_fast_as_datasets["FusedStream"] == pytest.approx(4 / 3)
    output = io.StringIO()
    reading.print_report(Console(file=output, width=160), report)
    assert "Index of 3 shards: 0.5 s, 1 MB." in output.getvalue()
    form = FormReport(
        form="hf", export_seconds=[2.0, 4.0, 1.0], copy_seconds=[1.0, 1.0, 1.0], memory_mb=9.0,
        memory_of_a_tenth_mb=8.0,
    )  # fmt: skip
    assert form.ratio == 0.5


@pytest.mark.parametrize("measure", [measure_reading, measure_exports])
def test_measurements_of_nothing_are_refused(measure: object) -> None:
    with pytest.raises(InvalidValueError, match="Expected"):
        measure(pairs=0)  # type: ignore[operator]
