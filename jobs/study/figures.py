"""The figures of a study, as SVG that also serves the dark and the light page of the report."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobs.study.drawing import (
    INK,
    LINE,
    MUTED,
    PAPER,
    draw_correlations,
    draw_differences,
    draw_distributions,
    draw_ranks,
    draw_sensitivity,
)
from jobs.study.statistics import ALL_METRICS, StudyStatistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (
    "#3366cc", "#d97a1e", "#1f9e77", "#b0438f", "#7a6be0", "#c9442f", "#1295b0", "#8a8a2a",
    "#a0673c", "#62748a",
)  # fmt: skip
"""Colours of methods, readable on white and on dark gray."""
_ON_PAGE = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "irfuse",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Return the colour of each method."""
    return {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(labels)}


def draw_figures(found: StudyStatistics, labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the SVG of every figure.

    Args:
        found: The statistics.
        labels: All methods of the study, which decide the colours.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    colours = colours_of(labels)
    with mpl.rc_context(_STYLE):
        for each in found.collections:
            if len(each.labels) < 2:
                continue
            name, alpha = each.collection, found.settings.alpha
            yield f"ranks-{name}", _svg(draw_ranks(each, colours))
            for scope in (ALL_METRICS, *each.metrics):
                if each.intervals(scope) is not None:
                    figure = draw_differences(each, scope, colours, alpha)
                    yield f"cd-{name}-{scope}", _svg(figure)
            yield f"distributions-{name}", _svg(draw_distributions(each, colours))
            if len(each.metrics) > 1:
                yield f"metrics-{name}", _svg(draw_correlations(each))
            if each.sensitivity:
                yield f"sensitivity-{name}", _svg(draw_sensitivity(each, colours))


def themed(svg: str, name: str) -> str:
    """Return an SVG to stand in a page: in its colours and font, and with ids of its own."""
    prefix = re.sub(r"\W+", "-", name)
    for fixed, variable in _ON_PAGE.items():
        svg = svg.replace(fixed, variable)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", svg)
    return re.sub(r'(<svg [^>]*?)width="[^"]*pt" height="[^"]*pt" ', r"\1", svg, count=1)


def _svg(figure: Figure) -> str:
    """Return a figure as the element `svg` alone, without the date of its creation."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None,
                                                   "Format": None})  # fmt: skip
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
