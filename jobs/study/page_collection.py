"""What the page of the report shows of a collection, in the words of its template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_core.metrics import find_metric
from jobs.comparison import rank_as_printed
from jobs.metric_text import UNDEFINED, metric_heading, value_text
from jobs.study.cells import CellStatus
from jobs.study.figures import colours_of
from jobs.study.findings import findings
from jobs.study.pictures import Strip
from jobs.study.record import StudyRecord
from jobs.study.settings import StatisticsSettings
from jobs.study.statistics import (
    ALL_METRICS,
    CollectionStatistics,
    JudgedComparison,
    StudyStatistics,
    direction_of,
)
from jobs.study.tables import (
    CollectionTable,
    TableRow,
    p_text,
    printed_value,
    published_notes,
    tabulate,
)

_PODIUM = 3


@dataclass(frozen=True)
class PageContent:
    """Everything that a page shows."""

    record: StudyRecord
    found: StudyStatistics
    cells: Sequence[CellStatus]
    figures: Mapping[str, str]
    strips: Mapping[str, Sequence[Strip]]
    baseline: str | None
    left_out: Sequence[str]


def view_collection(
    each: CollectionStatistics, content: PageContent, svgs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the template shows of a collection.

    Args:
        each: Its statistics.
        content: Everything that the page shows.
        svgs: The figures by their names, as markup.
    """
    found, name = content.found, each.collection
    colours = colours_of(list(content.record.methods))
    table = tabulate(each, content.record.published, len(found.collections) == 1)
    baseline = content.baseline if content.baseline in each.labels else None
    baseline = baseline or next(iter(each.order()), None)
    ranks = list(_rank_rows(each, colours))
    counts = set(table.n.values())
    return {
        "name": name,
        "id": re.sub(r"\W+", "-", name),
        "block": "group" if each.grouped else "pair",
        "counted": each.counted,
        "podium": ranks[:_PODIUM] if len(ranks) > 1 else [],
        "findings": list(findings(each, found.settings)),
        "ranked": [m for m in each.metrics if each.intervals(m) is not None],
        "rank_rows": ranks,
        "ranks": svgs.get(f"ranks-{name}"),
        "n_text": f"{counts.pop()} pairs" if len(counts) == 1 else f"up to {table.pairs} pairs",
        "headings": [{"text": metric_heading(m), "title": _meaning(m)} for m in table.metrics],
        "score_rows": [_score_row(table, row, colours) for row in table.rows],
        "table_notes": list(published_notes(table)),
        "baseline": baseline,
        "differences": len(each.labels) > 1,
        "effect_metrics": ["all", *(metric_heading(m) for m in each.metrics)],
        "effects": list(_effects(each, baseline, colours, found.settings)) if baseline else [],
        "cd_overall": svgs.get(f"cd-{name}-{ALL_METRICS}"),
        "cds": [
            {
                "metric": metric_heading(m),
                "text": _omnibus_text(each, m),
                "svg": svgs[f"cd-{name}-{m}"],
            }
            for m in each.metrics
            if f"cd-{name}-{m}" in svgs
        ],
        "tests": [_test(row) for row in each.pairwise],
        "distributions": svgs.get(f"distributions-{name}"),
        "correlations": svgs.get(f"metrics-{name}"),
        "sensitivity": svgs.get(f"sensitivity-{name}"),
        "strips": [_strip(each, strip, colours) for strip in content.strips.get(name, ())],
    }


def _meaning(metric: str) -> str:
    found = find_metric(metric)
    return "" if found is None else found.title


def _rank_rows(each: CollectionStatistics, colours: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    overall = each.ranking.overall
    if overall is None:
        return
    single = [found for found in each.ranking.metrics if found is not None]
    for label in each.order():
        place = each.labels.index(label)
        yield {
            "label": label,
            "colour": colours[label],
            "mean": float(overall.mean[place]),
            "low": float(overall.low[place]),
            "high": float(overall.high[place]),
            "p_first": float(overall.p_first[place]),
            "cells": [
                {
                    "text": f"{found.mean[place]:.2f}",
                    "first": bool(found.mean[place] <= found.mean.min() + 1e-9),
                }
                for found in single
            ],
        }


def _score_row(table: CollectionTable, row: TableRow, colours: Mapping[str, str]) -> dict[str, Any]:
    cells = []
    for metric in table.metrics:
        cell, text = row.cells.get(metric), printed_value(row, metric)
        below, hint = "", ""
        value = row.published.values.get(metric) if row.published else None
        if cell is not None:
            value = cell.mean
            if cell.ci_low is not None and cell.ci_high is not None:
                below = f"±{value_text(metric, (cell.ci_high - cell.ci_low) / 2)}"
                low, high = value_text(metric, cell.ci_low), value_text(metric, cell.ci_high)
                hint = f"{low} to {high}, n = {cell.n}"
        elif (deviation := table.deviation(row, metric)) is not None:
            below = _deviation_text(metric, deviation)
            hint = "published minus computed"
        cells.append(
            {"text": text, "value": value, "rank": row.ranks.get(metric), "below": below,
             "hint": hint}
        )  # fmt: skip
    return {
        "label": row.label,
        "published": row.published is not None,
        "colour": None if row.published else colours[row.label],
        "note": "published" if row.published else row.note,
        "cells": cells,
    }


def _deviation_text(metric: str, deviation: float) -> str:
    size = value_text(metric, abs(deviation))
    if not float(size):
        return "equal"
    return f"{'+' if deviation > 0 else '−'}{size}"


def _effects(
    each: CollectionStatistics,
    baseline: str,
    colours: Mapping[str, str],
    settings: StatisticsSettings,
) -> Iterator[dict[str, Any]]:
    """Yield the effect of every method against the baseline; positive where it is better."""
    rows = {(row.metric, row.found.a, row.found.b): row for row in each.pairwise}
    for label in each.order():
        if label == baseline:
            continue
        cells = []
        for metric in (ALL_METRICS, *each.metrics):
            first = (metric, label, baseline) in rows
            row = rows[(metric, label, baseline) if first else (metric, baseline, label)]
            cells.append(_effect(row, first=first, settings=settings))
        yield {"label": label, "colour": colours[label], "cells": cells}


def _effect(row: JudgedComparison, *, first: bool, settings: StatisticsSettings) -> dict[str, Any]:
    effect = row.found.rank_biserial
    if effect is None:
        return {"text": UNDEFINED, "sign": "equal", "strength": 0, "hint": "no pairs"}
    higher = row.metric != ALL_METRICS and bool(direction_of(row.metric))
    better = effect if first == higher else -effect
    wins, losses = (
        (row.found.wins_a, row.found.wins_b) if first else (row.found.wins_b, row.found.wins_a)
    )
    return {
        "text": f"{better:+.2f}".replace("-", "−"),
        "sign": "better" if better > 0 else "worse" if better < 0 else "equal",
        "strength": round(55 * abs(better)),
        "significant": row.verdict != "none",
        "hint": f"{wins} wins, {row.found.ties} ties, {losses} losses; "
        f"p {p_text(row.p_corrected(settings.correction))}",
    }


def _omnibus_text(each: CollectionStatistics, metric: str) -> str:
    test = each.omnibus[metric]
    if test.chi2 is None or test.kendall_w is None:
        return f"n = {test.n_blocks} < 6: not tested"
    p = p_text(test.p)
    return (
        f"n = {test.n_blocks}, Friedman χ² = {test.chi2:.2f}, "
        f"p {p if p.startswith('<') else f'= {p}'}, W = {test.kendall_w:.2f}"
    )


def _test(row: JudgedComparison) -> dict[str, Any]:
    found = row.found
    interval = UNDEFINED
    if found.hl_low is not None and found.hl_high is not None:
        interval = f"{_signed(row.metric, found.hl_low)} to {_signed(row.metric, found.hl_high)}"
    effect = found.rank_biserial
    numbers: list[tuple[float | None, str]] = [
        (found.hl_estimate, _signed(row.metric, found.hl_estimate)),
        (found.hl_low, interval),
        (effect, UNDEFINED if effect is None else f"{effect:+.2f}".replace("-", "−")),
        *((p, p_text(p)) for p in (found.p, found.p_holm, row.p_bh)),
    ]
    return {
        "metric": "all (mean rank)" if row.metric == ALL_METRICS else metric_heading(row.metric),
        "a": found.a,
        "b": found.b,
        "n": found.n,
        "wins_a": found.wins_a,
        "ties": found.ties,
        "wins_b": found.wins_b,
        "numbers": [{"value": value, "text": text} for value, text in numbers],
        "better": {"a": found.a, "b": found.b}.get(row.verdict, UNDEFINED),
    }


def _signed(metric: str, value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{'−' if value < 0 else '+'}{value_text(metric, abs(value))}"


def _strip(each: CollectionStatistics, strip: Strip, colours: Mapping[str, str]) -> dict[str, Any]:
    scores, pair = each.scores, strip.pair
    labels = [picture.label for picture in strip.pictures if picture.kind == "method"]
    places = [scores.labels.index(label) for label in labels]
    agreement = (
        "" if pair.agreement_w is None else f"agreement of metrics W = {pair.agreement_w:.2f}"
    )
    text = [f"{strip.size[0]} × {strip.size[1]}", agreement]
    if pair.best is not None:
        text.append(f"best mean rank {pair.best}, worst {pair.worst}")
    rows = []
    for number, metric in enumerate(scores.metrics):
        values = scores.values[strip.place, places, number]
        known = {n: None if np.isnan(v) else float(v) for n, v in enumerate(values)}
        ranks = rank_as_printed(metric, known)
        rows.append(
            {
                "metric": metric_heading(metric),
                "cells": [
                    {"text": value_text(metric, value), "rank": ranks.get(n)}
                    for n, value in known.items()
                ],
            }
        )
    return {
        "id": f"{re.sub(r'[^A-Za-z0-9]+', '-', each.collection)}-pair-{strip.place + 1}",
        "pair_id": pair.pair_id,
        "reason": pair.reason,
        "text": " · ".join(part for part in text if part),
        "width": strip.size[0],
        "height": strip.size[1],
        "frames": strip.frames,
        "pictures": [
            {
                "label": picture.label,
                "colour": colours.get(picture.label) if picture.kind == "method" else None,
                "whole": picture.whole,
                "zooms": picture.zooms,
                "problem": picture.problem,
            }
            for picture in strip.pictures
        ],
        "scores": rows,
    }
