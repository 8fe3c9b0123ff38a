"""The report of a study: one page of HTML, which needs no network."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import numpy as np

from cluster.runs import MethodOrigin, RunRecord
from jobs.metric_text import UNDEFINED, percent
from jobs.study.cells import CellStatus
from jobs.study.figures import themed
from jobs.study.findings import gaps
from jobs.study.page_collection import PageContent, view_collection
from jobs.study.statistics import StudyStatistics

_CORRECTIONS = {
    "holm": "Holm's correction",
    "bh": "Benjamini and Hochberg's correction over the study",
    "none": "without correction",
}
_SHOWN_DIGITS = 12


def make_page(content: PageContent) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    folder = resources.files("jobs.study").joinpath("page")
    environment = Environment(loader=PackageLoader("jobs.study", "page"), autoescape=True,
                              trim_blocks=True)  # fmt: skip
    environment.filters["percent"] = percent
    environment.filters["breakable"] = lambda text: Markup(
        str(Markup.escape(text)).replace("_", "_<wbr>")
    )
    environment.filters["emphasised"] = lambda text: Markup(
        re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(Markup.escape(text)))
    )
    found, record = content.found, content.record
    svgs = {name: Markup(_labelled(svg, name)) for name, svg in content.figures.items()}
    return environment.get_template("report.html.jinja").render(
        title=_title(content),
        version=record.irfuse_version,
        style=Markup(folder.joinpath("report.css").read_text("utf-8")),
        script=Markup(folder.joinpath("report.js").read_text("utf-8")),
        facts=_facts(found),
        untrained=_untrained(found),
        interval=percent(1 - found.settings.alpha),
        test=f"Wilcoxon's test, {_CORRECTIONS[found.settings.correction]}, "
        f"α = {found.settings.alpha:g}",
        collections=[view_collection(each, content, svgs) for each in found.collections],
        gaps=list(gaps(content.cells)),
        across=_across(found),
        failures=list(_failures(content.cells)),
        making=list(_making(content)),
        runs=[
            _run(each.collection, label, run)
            for each in found.collections
            for label, run in zip(each.scores.labels, each.scores.runs, strict=True)
        ],
        left_out=content.left_out,
    )


def _title(content: PageContent) -> str:
    if content.record.report.title:
        return content.record.report.title
    names = [each.collection for each in content.found.collections]
    return f"{len(content.record.methods)} methods on {', '.join(names)}"


def _facts(found: StudyStatistics) -> list[str]:
    first = found.collections[0]
    labels = {label for each in found.collections for label in each.scores.labels}
    pairs = ", ".join(f"{each.collection} ({len(each.scores.pair_ids):,} pairs)"
                      for each in found.collections)  # fmt: skip
    blocks = "groups of pairs" if found.settings.block == "group" else "pairs"
    return [
        f"{len(labels)} methods",
        pairs,
        f"{len(first.scores.metrics)} metrics, {len(first.counted)} counted",
        f"blocks are {blocks}",
    ]


def _untrained(found: StudyStatistics) -> list[str]:
    return sorted(
        {
            label
            for each in found.collections
            for label, run in zip(each.scores.labels, each.scores.runs, strict=True)
            if run.origin.trained is False
        }
    )


def _labelled(svg: str, name: str) -> str:
    """Return an SVG for the page, which screen readers take for one picture with a name."""
    return themed(svg, name).replace("<svg ", f'<svg role="img" aria-label="{_spoken(name)}" ', 1)


def _spoken(name: str) -> str:
    kind, _, what = name.partition("-")
    kinds = {
        "cd": "Critical-difference diagram",
        "ranks": "Mean ranks with intervals",
        "distributions": "Distributions of scores",
        "metrics": "Correlations of metrics",
        "sensitivity": "Shares of metric choices that each method wins",
    }
    return f"{kinds[kind]}: {what}"


def _across(found: StudyStatistics) -> list[dict[str, Any]]:
    if found.across is None or found.across.overall is None:
        return []
    overall = found.across.overall
    return [
        {
            "label": found.across_labels[place],
            "mean": float(overall.mean[place]),
            "p_first": float(overall.p_first[place]),
        }
        for place in np.argsort(overall.mean, kind="stable")
    ]


def _failures(cells: Sequence[CellStatus]) -> Iterator[dict[str, str]]:
    for cell in cells:
        own = {"collection": cell.collection, "label": cell.label}
        if cell.state in ("not run", "unfinished"):
            yield {**own, "pair": UNDEFINED, "reason": cell.problem or cell.state}
        for failure in cell.failures:
            reason = f"at {failure.stage}: {failure.message}"
            yield {**own, "pair": failure.pair_id, "reason": reason}
        if cell.failed > len(cell.failures):
            more = f"{cell.failed - len(cell.failures)} more failed pairs"
            yield {**own, "pair": UNDEFINED, "reason": more}


def _making(content: PageContent) -> Iterator[tuple[str, str]]:
    record, settings = content.record, content.found.settings
    yield "Versions", f"irfuse {record.irfuse_version}, torch {record.torch_version}"
    yield "Study", record.fingerprint
    for name, collection in record.collections.items():
        given = collection.model_dump(exclude_defaults=True)
        rest = ", ".join(f"{key} = {value}" for key, value in given.items() if key != "source")
        yield f"Collection {name}", f"{collection.source}{f' ({rest})' if rest else ''}"
    yield (
        "Blocks",
        f"{'groups of pairs' if settings.block == 'group' else 'pairs'} in which every compared "
        f"method has a value; methods with more than {percent(settings.max_failure_rate)} failed "
        "pairs are not compared",
    )
    yield (
        "Tests",
        "Friedman's test; Wilcoxon's signed-rank test with Pratt's zeros, exact for up to 50 "
        f"blocks without ties, {_CORRECTIONS[settings.correction]}, α = {settings.alpha:g}",
    )
    yield "Intervals", f"bootstrap, {settings.resamples:,} resamples, seed {settings.seed}"
    yield "Again", "irfuse study report OUT computes this page from the runs"


def _run(collection: str, label: str, run: RunRecord) -> dict[str, str]:
    """Return what a reader needs to compute a cell again."""
    origin, source = run.origin, shlex.quote(run.source)
    if isinstance(origin, MethodOrigin):
        changed = [f"--param {name}={value}" for name, value in _changed(origin).items()]
        digest = (origin.weights_sha256 or "")[:_SHOWN_DIGITS]
        return {
            "collection": collection,
            "label": label,
            "command": " ".join(["irfuse run", source, "--method", origin.method, *changed]),
            "parameters": ", ".join(f"{name}={value}" for name, value in origin.parameters.items()),
            "weights": f"{origin.weights} (SHA-256 {digest}…)" if origin.weights else "none",
        }
    fused = f" --fused {shlex.quote(origin.fused)}" if origin.fused else ""
    return {
        "collection": collection,
        "label": label,
        "command": f"irfuse score {source}{fused} --name {shlex.quote(label)}",
        "parameters": UNDEFINED,
        "weights": UNDEFINED,
    }


def _changed(origin: MethodOrigin) -> dict[str, Any]:
    """Return the parameters that differ from the defaults of the method."""
    from fusion_core.methods import METHODS

    spec = METHODS.get(origin.method)
    if spec is None:  # of the user's own
        return origin.parameters
    return spec.parameters.parse(origin.parameters).model_dump(exclude_defaults=True)
