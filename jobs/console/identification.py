"""The metrics that have a published value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from fusion_core.metrics import METRICS
from jobs.console.layout import print_list, print_text
from jobs.metric_text import UNDEFINED

if TYPE_CHECKING:
    from jobs.identify import Identification, Reading

_COMPUTED_OF = {
    "luma": "",
    "per_channel": " (mean over the channels)",
    "side_by_side": " (channels side by side)",
}


def print_identification(console: Console, found: Identification, *, as_json: bool) -> None:
    """Print the metrics that have a published value, and the others of its name."""
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    matches = [reading for reading in found.readings if reading.matches]
    others = [reading for reading in found.readings if not reading.matches]
    if matches:
        print_text(console, f"{found.name}={found.printed} is the value of:")
        _print_readings(console, matches)
    else:
        print_text(console, f"No metric of these images has the value {found.printed}.")
    if others:
        console.print()
        print_text(console, f"Other metrics that are printed as {found.name}:")
        _print_readings(console, others)


def _print_readings(console: Console, readings: Sequence[Reading]) -> None:
    rows = []
    for reading in readings:
        metric = METRICS[reading.metric]
        value = UNDEFINED if reading.value is None else f"{reading.value:.10g}"
        meaning = metric.title + _COMPUTED_OF[reading.channels]
        rows.append((metric.name, value, metric.programs or "–", meaning))
    print_list(console, ("metric", "value", "printed by", "meaning"), rows, right="value")
