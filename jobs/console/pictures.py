"""What is printed about pictures: a fused pair, and sheets of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from fusion_core.wording import count_of
from jobs.console.layout import print_list, print_text
from jobs.metric_text import value_text

if TYPE_CHECKING:
    from jobs.fuse import FusedPair
    from jobs.options import FuseOptions, ShowOptions
    from jobs.show import Sheet


def print_fused(console: Console, result: FusedPair, options: FuseOptions) -> None:
    """Print where the fused image is, and its scores if they were requested."""
    if options.json_output:
        print(result.model_dump_json(indent=2))
        return
    mark = " [untrained]" if result.trained is False else ""
    print_text(
        console,
        f"Fused {result.width}x{result.height} pixels with {result.method}{mark} in "
        f"{result.seconds:.2f} s: {result.output}",
    )
    if result.resized:
        print_text(console, f"Resized to this size: {result.resized}")
    if result.scores:
        rows = ((name, value_text(name, value)) for name, value in result.scores.items())
        print_list(console, ("metric", "value"), rows, right="value")


def print_sheet(console: Console, result: Sheet, options: ShowOptions) -> None:
    """Print where the picture is."""
    print_text(console, f"{count_of(len(result.positions), 'pair')}: {result.location}")
