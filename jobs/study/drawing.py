"""The single figures of a study, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_core.statistics import (
    cluster_order,
    correlation_matrix,
    nemenyi_difference,
    unseparated_groups,
)
from jobs.metric_text import metric_heading, percent
from jobs.study.statistics import CollectionStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1b1f24", "#667080", "#d8dde3", "#ffffff"
_POSITIVE, _NEGATIVE = "#2f6fd0", "#c8502d"
_MOST_POINTS = 400
"""Points of a distribution that are drawn singly."""


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes((0.0, 0.0, 1.0, 1.0))


def _text_width(texts: Sequence[str], size: float) -> float:
    """Return a width in inches that the longest of some texts does not exceed in usual fonts."""
    return 0.0086 * size * max(map(len, texts), default=0)


def _bare(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


def draw_ranks(each: CollectionStatistics, colours: dict[str, str]) -> Figure:
    """Draw overall mean ranks with intervals, and small the mean ranks by each metric."""
    order, overall = each.order(), each.ranking.overall
    assert overall is not None
    count = len(order)
    left = 0.25 + _text_width(order, 9)
    width, height = 7.6, 0.42 * count + 0.6
    figure, axes = _figure(width, height)
    axes.set_position(
        (left / width, 0.45 / height, 1 - (left + 1.75) / width, 0.42 * count / height)
    )
    _bare(axes)
    for rank in range(1, count + 1):
        axes.axvline(rank, color=LINE, linewidth=0.8, zorder=0)
    for row, label in enumerate(order):
        place = each.labels.index(label)
        colour = colours[label]
        single = [
            found.mean[place]
            for metric, found in zip(each.metrics, each.ranking.metrics, strict=True)
            if found is not None and metric in each.counted
        ]
        axes.plot(single, [row] * len(single), "|", color=colour, alpha=0.45, markersize=9)
        axes.plot(
            [overall.low[place], overall.high[place]], [row, row],
            color=colour, linewidth=5, alpha=0.35, solid_capstyle="round",
        )  # fmt: skip
        axes.plot(overall.mean[place], row, "o", color=colour, markersize=8)
        for inches, text, weight, ink in (
            (1.6, f"{overall.mean[place]:.2f}", "bold", INK),
            (1.1, f"first in {percent(overall.p_first[place])}", "normal", MUTED),
        ):
            figure.text(
                1 - inches / width, (0.45 + 0.42 * (count - row - 0.5)) / height, text,
                va="center_baseline", fontweight=weight, color=ink,
            )  # fmt: skip
    axes.set_yticks(range(count), order)
    axes.tick_params(axis="y", labelcolor=INK, pad=8)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlim(0.8, count + 0.2)
    axes.set_xticks(range(1, count + 1))
    axes.set_xlabel("mean rank (1 is best)", fontsize=8)
    return figure


def separated_pairs(each: CollectionStatistics, scope: str, alpha: float) -> set[tuple[int, int]]:
    """Return the places of methods that the tests with Holm's correction separate."""
    place = {label: index for index, label in enumerate(each.labels)}
    return {
        (place[judged.found.a], place[judged.found.b])
        for judged in each.judged(scope)
        if judged.found.p_holm is not None and judged.found.p_holm <= alpha
    }


def draw_differences(
    each: CollectionStatistics, scope: str, colours: dict[str, str], alpha: float
) -> Figure:
    """Draw a critical-difference diagram: an axis of ranks, and bars over what is not separated."""
    found = each.intervals(scope)
    assert found is not None
    ranks, count = found.mean, len(each.labels)
    order = sorted(range(count), key=lambda place: (ranks[place], place))
    bars = unseparated_groups(list(ranks), separated_pairs(each, scope, alpha))
    left = order[: (count + 1) // 2]
    right = order[(count + 1) // 2 :][::-1]
    rows = max(len(left), len(right))
    top, step = 0.62, 0.24
    first = top + 0.2 + 0.13 * len(bars)
    height = first + step * rows + 0.06
    low, high = 1.0, float(count)
    beside = _text_width(each.labels, 8.5) + 0.7
    width = max(5.6, 2 * beside + 3.0)
    figure, axes = _figure(width, height)
    margin = beside * (high - low) / (width - 2 * beside)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    axes.plot([low, high], [top, top], color=MUTED, linewidth=1)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [top - 0.06, top], color=MUTED, linewidth=1)
        axes.text(rank, top - 0.1, f"{rank}", ha="center", va="bottom", color=MUTED, fontsize=8)
    blocks = each.blocks.get(scope, max(each.blocks.values(), default=0))
    ruler = nemenyi_difference(count, max(1, blocks), alpha)
    if ruler < high - low:
        axes.plot([low, low + ruler], [0.2, 0.2], color=MUTED, linewidth=1.2)
        for end in (low, low + ruler):
            axes.plot([end, end], [0.16, 0.24], color=MUTED, linewidth=1.2)
        axes.text(
            low + ruler + 0.05 * (high - low), 0.2, f"Nemenyi CD {ruler:.2f}",
            va="center", color=MUTED, fontsize=7.5,
        )  # fmt: skip
    for side, places, x, align in (
        ("left", left, low - 0.06 * (high - low), "right"),
        ("right", right, high + 0.06 * (high - low), "left"),
    ):
        for row, place in enumerate(places):
            y = first + step * row + 0.1
            colour = colours[each.labels[place]]
            axes.plot([ranks[place], ranks[place], x], [top, y, y], color=colour, linewidth=1.2)
            axes.plot([ranks[place]], [top], "o", color=colour, markersize=4.5)
            label, number = each.labels[place], f"{ranks[place]:.2f}"
            gap = 0.03 * (high - low) * (-1 if side == "left" else 1)
            text = f"{label}  {number}" if side == "left" else f"{number}  {label}"
            axes.text(x + gap, y, text, ha=align, va="center", fontsize=8.5)
    for row, bar in enumerate(bars):
        y = top + 0.15 + 0.13 * row
        ends = ranks[bar[0]], ranks[bar[-1]]
        axes.plot(
            [min(ends) - 0.02 * (high - low), max(ends) + 0.02 * (high - low)], [y, y],
            color=INK, linewidth=3.6, solid_capstyle="round",
        )  # fmt: skip
    return figure


def draw_distributions(each: CollectionStatistics, colours: dict[str, str]) -> Figure:
    """Draw the scores of all methods by each metric: a box, and points unless there are many."""
    from matplotlib.figure import Figure

    order = each.order()
    metrics, columns = each.scores.metrics, 4
    lines = -(-len(metrics) // columns)
    width, panel = 10.0, 0.2 * len(order) + 0.62
    figure = Figure(figsize=(width, panel * lines))
    left, gap = (0.15 + _text_width(order, 8)) / width, 0.022
    cell = (1 - left - gap * (columns - 1) - 0.012) / columns
    places = [each.scores.labels.index(label) for label in order]
    for number, metric in enumerate(metrics):
        line, column = divmod(number, columns)
        bottom = 1 - (line + 1) / lines + 0.28 / (panel * lines)
        axes = figure.add_axes(
            (left + column * (cell + gap), bottom, cell, (panel - 0.55) / (panel * lines))
        )
        _bare(axes)
        axes.spines["bottom"].set_visible(True)
        axes.set_title(metric_heading(metric), fontsize=9, color=INK, loc="left", pad=4)
        for row, (label, place) in enumerate(zip(order, places, strict=True)):
            values = each.scores.values[:, place, number]
            _draw_strip(axes, row, values[~np.isnan(values)], colours[label])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_yticks(range(len(order)), order if column == 0 else [])
        axes.tick_params(axis="y", labelcolor=INK, labelsize=8)
        axes.tick_params(axis="x", labelsize=7, pad=2)
        axes.locator_params(axis="x", nbins=4)
        axes.margins(x=0.04)
    return figure


def _draw_strip(axes: Axes, row: int, values: np.ndarray[Any, Any], colour: str) -> None:
    if not len(values):
        return
    low, q25, median, q75, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    axes.plot([low, high], [row, row], color=colour, linewidth=1, alpha=0.6)
    axes.plot([q25, q75], [row, row], color=colour, linewidth=6.5, alpha=0.3,
              solid_capstyle="butt")  # fmt: skip
    if len(values) <= _MOST_POINTS:
        shift = 0.22 * np.sin(np.arange(len(values)) * 2.4)
        axes.plot(values, row + shift, "o", color=colour, markersize=2, alpha=0.55,
                  markeredgewidth=0)  # fmt: skip
    axes.plot([median, median], [row - 0.3, row + 0.3], color=colour, linewidth=2)


def draw_correlations(each: CollectionStatistics) -> Figure:
    """Draw Spearman's correlations of metrics; aliases and redundant metrics are framed."""
    from matplotlib.patches import Rectangle

    matrix = correlation_matrix(each.correlations, each.metrics)
    order = cluster_order(matrix)
    names = [each.metrics[place] for place in order]
    marked = {frozenset((c.metric_a, c.metric_b)): c for c in each.correlations}
    count, side = len(names), 0.47
    left = 0.15 + _text_width(names, 8.5)
    width, height = left + side * count + 0.7 * _text_width(names, 8.5), side * count + 0.1
    figure, axes = _figure(width, height)
    axes.set_position((left / width, 0.05 / height, side * count / width, side * count / height))
    _bare(axes)
    for row, first in enumerate(order):
        for column, second in enumerate(order):
            rho = matrix[first, second]
            if column > row or np.isnan(rho):
                continue
            strength = 0.85 * abs(rho)
            colour = _POSITIVE if rho >= 0 else _NEGATIVE
            if row != column:
                axes.add_patch(
                    Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, facecolor=colour,
                              alpha=strength, linewidth=0)
                )  # fmt: skip
                pair = marked[frozenset((names[row], names[column]))]
                if pair.redundant:
                    axes.add_patch(
                        Rectangle((column + 0.05, row + 0.05), 0.9, 0.9, fill=False,
                                  edgecolor=INK, linewidth=1.4)
                    )  # fmt: skip
                text = "alias" if pair.alias else f"{rho:.2f}".replace("-", "−").replace("0.", ".")
                axes.text(
                    column + 0.5, row + 0.52, text, ha="center", va="center", fontsize=7.2,
                    color="#fefefe" if strength > 0.5 else INK,
                )  # fmt: skip
            else:
                axes.text(column + 0.14, row + 0.6, names[row], ha="left", va="center",
                          fontsize=8.2, rotation=32, rotation_mode="anchor")  # fmt: skip
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.set_xticks([])
    axes.set_yticks([place + 0.5 for place in range(count)], names)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=8.5, pad=6)
    return figure


def draw_sensitivity(each: CollectionStatistics, colours: dict[str, str]) -> Figure:
    """Draw which share of all choices of metrics each method wins, one bar per size."""
    names = [f"{share.subset_size} of {len(each.counted)} metrics" for share in each.sensitivity]
    rows, width = len(names), 7.6
    left = 0.25 + _text_width(names, 9)
    winners = [
        label
        for label in each.order()
        if any(share.shares[each.labels.index(label)] > 0 for share in each.sensitivity)
    ]
    entries = _legend_places(winners, left, width)
    above = 0.24 * (1 + max(line for _, line in entries)) + 0.1
    height = 0.42 * rows + 0.35 + above
    figure, axes = _figure(width, height)
    axes.set_position((left / width, 0.3 / height, 1 - (left + 0.25) / width, 0.42 * rows / height))
    _bare(axes)
    for label, (inches, line) in zip(winners, entries, strict=True):
        y = 1 - (0.13 + 0.24 * line) / height
        figure.text(inches / width, y, "●", color=colours[label], va="center", fontsize=9)
        figure.text((inches + 0.16) / width, y, label, va="center", fontsize=8.5)
    for row, share in enumerate(each.sensitivity):
        start = 0.0
        for label in winners:
            won = float(share.shares[each.labels.index(label)])
            axes.barh(row, won, left=start, height=0.68, color=colours[label], linewidth=0)
            if won > 0.035:
                axes.text(start + won / 2, row, f"{won:.0%}", ha="center", va="center",
                          fontsize=8, color="#fefefe")  # fmt: skip
            start += won
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_yticks(range(rows), names)
    axes.tick_params(axis="y", labelcolor=INK, pad=8)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    return figure


def _legend_places(labels: Sequence[str], left: float, width: float) -> list[tuple[float, int]]:
    """Return the place in inches and the line of each entry of a legend."""
    places: list[tuple[float, int]] = []
    at, line = left, 0
    for label in labels:
        needed = 0.35 + _text_width([label], 8.5)
        if at + needed > width and at > left:
            at, line = left, line + 1
        places.append((at, line))
        at += needed
    return places
