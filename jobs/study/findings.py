"""What a study found, in sentences; `**` encloses what is emphasised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.metric_text import percent
from jobs.study.cells import CellStatus
from jobs.study.settings import StatisticsSettings
from jobs.study.statistics import ALL_METRICS, CollectionStatistics, aliases
from jobs.study.tables import p_text

_MOST_NAMED = 6
_MANY_BLOCKS = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence or two."""

    kind: Literal["result", "caution"]
    text: str


def findings(each: CollectionStatistics, settings: StatisticsSettings) -> Iterator[Finding]:
    """Yield what was found on a collection, the most important first."""
    yield from _ranking(each, settings)
    yield from _sensitivity(each)
    yield from _redundancy(each)
    yield from _cautions(each, settings)


def gaps(cells: Sequence[CellStatus]) -> Iterator[Finding]:
    """Yield which cells have no results."""
    for state, text in (("unfinished", "is unfinished"), ("not run", "was not computed")):
        for cell in cells:
            if cell.state == state:
                why = f": {cell.problem}" if cell.problem else ""
                yield Finding("caution", f"**{cell.label}** on {cell.collection} {text}{why}.")


def _ranking(each: CollectionStatistics, settings: StatisticsSettings) -> Iterator[Finding]:
    overall, order = each.ranking.overall, each.order()
    if overall is None or len(order) < 2:
        return
    first = order[0]
    place = each.labels.index(first)
    interval = f"{overall.low[place]:.2f} to {overall.high[place]:.2f}"
    yield Finding(
        "result",
        f"**{first}** ranks best of {len(order)} methods by {len(each.counted)} metrics: mean rank "
        f"{overall.mean[place]:.2f} ({percent(1 - settings.alpha)} interval {interval}), and it is "
        f"first in {percent(overall.p_first[place])} of the resamples. "
        f"{_separation(each, first, settings)}",
    )
    others = {m: best for m, best in each.leave_one_out.items() if best != (first,)}
    if each.leave_one_out and not others:
        yield Finding("result", f"**{first}** stays first whichever single metric is left out.")
    elif others:
        cases = [f"{' and '.join(best)} without {m}" for m, best in others.items()]
        yield Finding("caution", f"Single metrics decide the first place: {_some(cases)}.")


def _separation(each: CollectionStatistics, first: str, settings: StatisticsSettings) -> str:
    """Say from which methods tests of the mean ranks separate the best one."""
    together = []
    for row in each.judged(ALL_METRICS):
        if first in (row.found.a, row.found.b) and row.verdict == "none":
            other = row.found.b if row.found.a == first else row.found.a
            together.append(f"{other} (p {_p(row.p_corrected(settings.correction))})")
    if not together:
        return "Tests of the mean ranks separate it from all others."
    return f"Tests of the mean ranks do not separate it from {_some(together)}."


def _p(p: float | None) -> str:
    text = p_text(p)
    return text if p is None or text.startswith("<") else f"= {text}"


def _sensitivity(each: CollectionStatistics) -> Iterator[Finding]:
    if not each.sensitivity:
        return
    share = each.sensitivity[0]
    won = sorted(
        ((float(s), label) for s, label in zip(share.shares, each.labels, strict=True) if s > 0),
        reverse=True,
    )
    if len(won) == 1:
        yield Finding(
            "result",
            f"**{won[0][1]}** wins by every choice of {share.subset_size} of the "
            f"{len(each.counted)} metrics.",
        )
        return
    shares = ", ".join(f"{label} {percent(part)}" for part, label in won)
    yield Finding(
        "caution",
        f"The choice of metrics decides: {len(won)} of {len(each.labels)} methods win by some "
        f"choice of {share.subset_size} of the {len(each.counted)} metrics ({shares} of "
        f"{share.subsets:,} choices{', sampled' if share.sampled else ''}).",
    )


def _redundancy(each: CollectionStatistics) -> Iterator[Finding]:
    originals = aliases()
    for name in each.metrics:
        if name not in each.counted and originals.get(name) in each.metrics:
            yield Finding(
                "result",
                f"{name} orders images exactly as {originals[name]} does, and is not counted a "
                "second time.",
            )
    close = [
        f"{row.metric_a} and {row.metric_b} ({row.spearman:+.2f})".replace("-", "−")
        for row in each.correlations
        if row.redundant and row.spearman is not None
        if row.metric_a in each.counted and row.metric_b in each.counted
    ]
    if close:
        yield Finding("result", f"Metrics that add little to each other: {_some(close)}.")


def _cautions(each: CollectionStatistics, settings: StatisticsSettings) -> Iterator[Finding]:
    for label, share in each.disqualified.items():
        yield Finding(
            "caution",
            f"**{label}** failed for {percent(share)} of the pairs and is not compared, so that "
            "the others keep theirs.",
        )
    if each.sequences:
        yield Finding(
            "caution",
            "The groups of pairs are as large as video sequences, whose frames depend on each "
            "other; `--block group` compares sequences instead of frames.",
        )
    total = len(each.scores.pair_ids)
    lost = {metric: total - count for metric, count in each.pairs.items() if count < total}
    if lost and each.labels:
        texts = [f"{metric} {count}" for metric, count in lost.items()]
        yield Finding(
            "caution",
            f"Pairs left out because a method has no value: {_some(texts)} of {total}.",
        )
    most = max(each.blocks.values(), default=0)
    if most > _MANY_BLOCKS:
        yield Finding(
            "caution",
            f"With {most:,} blocks the smallest difference is significant; a method counts as "
            "better only if |r| is at least 0.1 as well.",
        )
    if each.labels and 0 < most < 6:
        yield Finding("caution", f"With {most} blocks (n < 6) nothing is tested.")


def _some(texts: Sequence[str]) -> str:
    shown = list(texts[:_MOST_NAMED])
    if len(texts) > _MOST_NAMED:
        shown.append(f"{len(texts) - _MOST_NAMED} more")
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]
