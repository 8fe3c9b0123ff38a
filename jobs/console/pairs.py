"""What was found in a collection: pairs, examples, and everything that is in no pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from fusion_core.wording import count_of
from jobs.console.layout import print_list
from jobs.console.printing import print_lines

if TYPE_CHECKING:
    from collections import Counter

    from cluster.collections import CollectionCheck, Discovery, PairRow
    from jobs.options import PairsOptions
    from jobs.pairs import PairsResult

_MOST_NAMES = 5
_MOST_SUBSETS = 20
_MOST_PROBLEMS = 10


def print_pairs(console: Console, result: PairsResult, options: PairsOptions) -> None:
    """Print the pairs per layout and subset, examples, and the files that are in no pair.

    Raises:
        ManifestError: The check found pairs that cannot be fused as they are.
    """
    from jobs.sources import describe_repetition

    total = result.rows if result.discovery is None else len(result.discovery.pairs)
    taken = "" if total == result.rows else f"{result.rows} of "
    count = f"{taken}{count_of(total, 'pair')}"
    print_lines(console, f"{result.source}: {count}{_by_layout(result.discovery)}")
    _print_subsets(console, result.subsets)
    print_lines(console, "", "For example")
    for pair in result.examples:
        print_lines(console, *_example(pair, result.source))
    if result.labelled:
        print_lines(console, "", *_labels(result))
    rest = [
        *(() if result.discovery is None else _rest(result.discovery)),
        *map(describe_repetition, result.repetitions),
    ]
    if rest:
        print_lines(console, "", *rest)
    if result.check is not None:
        print_lines(console, "", *_check(result.check))
    if result.output is None:
        print_lines(console, "", "Nothing was written; --output FILE.parquet writes a manifest.")
    else:
        print_lines(console, "", f"Manifest: {result.output}")
    result.require_sound()


def _by_layout(discovery: Discovery | None) -> str:
    if discovery is None:
        return " in the manifest"
    if len(discovery.matched) == 1:
        return f" (layout: {next(iter(discovery.matched))})"
    counts = ", ".join(f"{count} {layout}" for layout, count in discovery.matched.items())
    return f" (layouts: {counts})"


def _print_subsets(console: Console, subsets: dict[str, int]) -> None:
    """Print the number of pairs of each subset, unless there are none."""
    if set(subsets) == {""}:
        return
    rows = [(subset or "(none)", str(count)) for subset, count in subsets.items()]
    console.print()
    print_list(console, ("subset", "pairs"), rows[:_MOST_SUBSETS], right="pairs")
    if len(rows) > _MOST_SUBSETS:
        print_lines(console, f"… and {len(rows) - _MOST_SUBSETS} more subsets")


def _example(pair: PairRow, source: str) -> Iterator[str]:
    ir, vis = (uri.removeprefix(f"{source}/") for uri in (pair.ir_uri, pair.vis_uri))
    yield f"  {pair.pair_id}"
    if ir == vis:
        yield f"      infrared and visible {ir}"
    else:
        yield f"      infrared {ir}"
        yield f"      visible  {vis}"


def _labels(result: PairsResult) -> Iterator[str]:
    """Yield how many pairs have labels, and which other labels there are."""
    example = result.label_example.removeprefix(f"{result.source}/")
    yield f"Labels: {result.labelled} of {result.rows} pairs, such as {example}"
    for kind, count in result.other_labels.items():
        yield f"Other labels: {kind} of {count} pairs, which exports take with --labels DIR"


def _rest(discovery: Discovery) -> Iterator[str]:
    """Yield a line for each kind of file that is in no pair."""
    if discovery.single:
        yield f"Without a partner ({len(discovery.single)}): {_first(discovery.single)}"
    for reason in dict.fromkeys(discovery.skipped.values()):
        keys = [key for key, found in discovery.skipped.items() if found == reason]
        yield f"Left out, {reason} ({len(keys)}): {_first(keys)}"
    for reason, count in discovery.ignored.items():
        example = discovery.ignored_examples[reason]
        yield f"Ignored, {reason} ({count}), such as {example}"


def _first(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _check(check: CollectionCheck) -> Iterator[str]:
    """Yield lines about the sizes and kinds of the images, and about the pairs with problems."""
    yield f"Sizes: {_counts(check.sizes)}"
    yield f"Infrared: {_counts(check.infrared)}"
    yield f"Visible: {_counts(check.visible)}"
    for problem in check.problems[:_MOST_PROBLEMS]:
        yield f"  {problem.pair_id}: {problem.reason}"
    more = check.bad.total() - _MOST_PROBLEMS
    if more > 0:
        yield f"  … and {more} more pairs with problems"


def _counts(counter: Counter[str]) -> str:
    shown = [f"{text} ({count})" for text, count in counter.most_common(_MOST_NAMES)]
    more = len(counter) - len(shown)
    return ", ".join(shown) + (f", and {more} others" if more > 0 else "") or "none"
