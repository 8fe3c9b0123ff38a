"""Lists and descriptions of metrics and presets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fusion_core.metrics import MEASURES, PRESETS, Metric, Preset
from jobs.console.catalogue import origin_text
from jobs.console.identification import print_identification
from jobs.console.layout import print_fields, print_list, print_text
from jobs.metric_text import direction_arrow

if TYPE_CHECKING:
    from jobs.catalogue import ChosenMetrics
    from jobs.options import MetricsOptions

_HEADINGS = ("metric", "", "range", "year", "meaning")


def print_metrics(console: Console, chosen: ChosenMetrics, options: MetricsOptions) -> None:
    """Print one line per metric, or all about one or about a preset, or JSON."""
    if chosen.identification is not None:
        print_identification(console, chosen.identification, as_json=options.json_output)
    elif options.json_output:
        content = {name: _to_json(metric) for name, metric in chosen.metrics.items()}
        print(json.dumps(content, indent=2))
    elif chosen.preset is not None:
        _print_preset(console, chosen.preset, chosen.metrics)
    elif len(chosen.metrics) == 1:
        (metric,) = chosen.metrics.values()
        lines = _to_fields(metric)
        if metric.name in chosen.origins:
            lines["from"] = origin_text(chosen.origins[metric.name])
        print_fields(console, f"{metric.name}: {metric.title}", lines)
    elif options.names:
        print_list(console, ("name", "", "column", "meaning"), _measure_rows(chosen.metrics))
    else:
        own = {name: metric for name, metric in chosen.metrics.items() if name in chosen.origins}
        _print_all(console, {n: m for n, m in chosen.metrics.items() if n not in own})
        if own or chosen.problems:
            console.print()
            print_text(console, "Of installed packages:")
            cells = [(n, origin_text(chosen.origins[n]), metric.title) for n, metric in own.items()]
            cells += [(name, "–", f"! {problem}") for name, problem in chosen.problems.items()]
            print_list(console, ("metric", "package", "title"), cells)


def _print_all(console: Console, metrics: Mapping[str, Metric]) -> None:
    plain = [metric for metric in metrics.values() if metric.is_plain]
    dialects = [metric for metric in metrics.values() if metric.dialect_of]
    against = [metric for metric in metrics.values() if metric.needs_reference]
    print_list(console, _HEADINGS, map(_to_cells, plain))
    console.print()
    print_text(console, "Dialects, which are what other programs print under the same name:")
    print_list(console, _HEADINGS, map(_to_cells, dialects))
    console.print()
    print_text(console, "Against reference images, for `irfuse score --reference`:")
    print_list(console, _HEADINGS, map(_to_cells, against))
    console.print()
    print_text(
        console,
        f"Presets, which --metrics takes as well: {', '.join(PRESETS)}. `irfuse metrics NAME` "
        "describes a metric with its paper and when it is undefined, or a preset. `irfuse metrics "
        "--identify NAME=VALUE IR VISIBLE FUSED` finds the metric that has a published value. "
        "`irfuse metrics pyiqa` and `irfuse metrics torchmetrics` list measures of these "
        "libraries, which --metrics takes if they are installed (pip install 'irfuse[iqa]').",
    )


def _measure_rows(metrics: Mapping[str, Metric]) -> Iterable[tuple[str, ...]]:
    for column, metric in metrics.items():
        yield MEASURES[column].requested, direction_arrow(metric), column, metric.title


def _print_preset(console: Console, preset: Preset, metrics: Mapping[str, Metric]) -> None:
    lines = {"colour": preset.colour}
    if preset.link:
        lines["program"] = preset.link
    print_fields(console, f"{preset.name}: {preset.title}", lines)
    console.print()
    rows: Iterable[tuple[str, ...]] = (
        (name, preset.columns[name], metric.title) for name, metric in metrics.items()
    )
    print_list(console, ("metric", "printed as", "meaning"), rows)


def _to_cells(metric: Metric) -> tuple[str, ...]:
    year = str(metric.paper.year) if metric.paper and metric.paper.year else "–"
    return metric.name, direction_arrow(metric), metric.range, year, metric.title


def _to_fields(metric: Metric) -> dict[str, str]:
    values = _to_json(metric)
    for name in ("name", "title", "higher_is_better", "paper"):
        del values[name]
    lines = {name.replace("_", " "): str(value) for name, value in values.items() if value}
    lines.setdefault("undefined", "never")
    if metric.paper is not None:
        lines |= {"paper": metric.paper.citation}
        if metric.paper.link not in metric.paper.citation:
            lines[""] = metric.paper.link
    return {
        "better": {True: "higher", False: "lower", None: "neither"}[metric.higher_is_better],
        **lines,
    }


def _to_json(metric: Metric) -> dict[str, Any]:
    """Return every field of a metric but its function."""
    values = {f.name: getattr(metric, f.name) for f in fields(metric) if f.name != "score_batch"}
    return {**values, "paper": asdict(metric.paper) if metric.paper else None}
